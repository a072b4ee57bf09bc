"""Files that appear whole or not at all, and what strict JSON has in them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyness.errors import StoreError

__all__ = ["strict", "write_whole"]


def write_whole(contents: Mapping[str | Path, str | bytes], remedy: str = "free space or give another path") -> None:
    """Write the files, or leave everything as it was: each is written beside its place first and moved there last.

    Args:
        contents: text (UTF-8) or bytes, by path.
        remedy: the end of the message where that fails.

    Raises:
        StoreError: no space, no permission, no such directory.
    """
    parts = {Path(path): Path(path).with_name(Path(path).name + ".part") for path in contents}
    try:
        for part, content in zip(parts.values(), contents.values(), strict=True):
            part.write_bytes(content if isinstance(content, bytes) else content.encode())
        for path, part in parts.items():
            os.replace(part, path)
    except OSError as error:
        raise StoreError(f"cannot write {' and '.join(map(str, parts))}: {error.strerror or error}", remedy) from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def strict(value: Any) -> Any:
    """As strict JSON has it: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(key): strict(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The file that a training goes on from."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from pyness.errors import InputError, StoreError
from pyness.files import write_whole

__all__ = ["read_checkpoint", "write_checkpoint"]


def write_checkpoint(path: str | Path, content: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Write ``content`` and what training it belongs to, whole or not at all.

    Raises:
        StoreError: it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({**content, "training": json.dumps(metadata, sort_keys=True)}, buffer)
    write_whole({path: buffer.getvalue()}, "make room or give another path")


def read_checkpoint(path: str | Path | None, metadata: dict[str, Any], names: Iterable[str]) -> dict[str, Any] | None:
    """``names`` of what was written; None where there is none yet.

    Raises:
        InputError: no path.
        StoreError: damaged, or of another training.
    """
    if path is None:
        raise InputError("resume without a checkpoint", "give checkpoint=PATH")
    path = Path(path)
    if not path.exists():
        return None
    try:
        stored = torch.load(path, weights_only=True)
        training = stored["training"]
        content = {name: stored[name] for name in names}
    except Exception as error:
        raise StoreError(f"{path} is damaged or no checkpoint of pyness", "remove it to train anew") from error
    if training != json.dumps(metadata, sort_keys=True):
        raise StoreError(
            f"{path} belongs to another training",
            "give its options, seed, samples and number of processes, or remove it",
        )
    return content

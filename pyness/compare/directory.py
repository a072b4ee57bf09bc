"""Where a comparison keeps what is done, so that it can be interrupted anywhere and gone on with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyness.errors import LimitError, StoreError
from pyness.files import write_whole

__all__ = ["Directory"]

KIND, FORMAT = "pyness comparison", 1
SETTINGS, LISTED, PARTS, RESULT = "settings.json", "solvers.json", "parts", "comparison"


class Directory:
    """A comparison on disk: ``settings.json`` first, a JSON file for each portion, ``comparison.*`` last.

    Args:
        path: an absent or empty directory, unless ``resume`` or ``overwrite``.
        settings: what must be the same to go on.

    Raises:
        StoreError: it holds something else, a comparison of another system or with other settings, or cannot be
            written.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
        self.path = Path(path)
        settings = json.loads(json.dumps({"kind": KIND, "format": FORMAT, **settings}))
        if self.path.exists() and not self.path.is_dir():
            raise StoreError(f"{self.path} is a file", "give a directory")
        left = any(self.path.iterdir()) if self.path.exists() else False
        if left:
            self._claim(settings, resume, overwrite)
        if not (self.path / SETTINGS).exists():
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make {self.path}: {error.strerror}", "give another directory") from error
            write_whole({self.path / SETTINGS: json.dumps(settings, indent=2) + "\n"})

    def _claim(self, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
        try:
            there = json.loads((self.path / SETTINGS).read_text(encoding="utf-8"))
            known = there["kind"] == KIND and there["format"] == FORMAT
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise StoreError(f"{self.path} is not empty and no comparison of pyness", "give another directory")
        if not (resume or overwrite):
            name = there["system"]["name"]
            raise StoreError(
                f"{self.path} is not empty: it has a comparison of {name!r}",
                "give another directory, or resume or overwrite",
            )
        if overwrite:
            return self._remove()
        if there["system"]["name"] != settings["system"]["name"]:
            raise StoreError(
                f"{self.path} is a comparison of {there['system']['name']!r}, not of {settings['system']['name']!r}",
                "give another directory",
            )
        different = [key for key in settings if there.get(key) != settings[key]]
        if different:
            what = ", ".join(f"{key} ({there.get(key)!r} there, {settings[key]!r} here)" for key in different)
            raise StoreError(
                f"{self.path} is another comparison: it differs in {what}", "give its settings, or another directory"
            )
        return None

    def _remove(self) -> None:
        shutil.rmtree(self.path / PARTS, ignore_errors=True)
        for file in self.path.glob(f"{RESULT}.*"):
            file.unlink()
        (self.path / LISTED).unlink(missing_ok=True)
        (self.path / SETTINGS).unlink()

    def listed(self) -> list[tuple[str, str]]:
        """Label and resolved name, engine included, of the solvers that were compared here."""
        return [(label, spec) for label, spec in self.read(self.path / LISTED) or ()]

    def list(self, solvers: Sequence[tuple[str, str]]) -> None:
        """Note them."""
        self.write(self.path / LISTED, solvers)

    def of(self, solver: str) -> Path:
        """The folder of one solver, given by its resolved name with the engine."""
        slug = re.sub(r"[^A-Za-z0-9.=-]+", "_", solver)
        return self.path / PARTS / f"{slug}-{hashlib.sha256(solver.encode()).hexdigest()[:8]}"

    @staticmethod
    def read(file: Path) -> Any:
        """A record, or None if there is none yet.

        Raises:
            StoreError: it is damaged.
        """
        if not file.exists():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{file} is damaged", "remove it to have it done again") from error

    @staticmethod
    def write(file: Path, record: Any) -> None:
        """Write a record.

        Raises:
            StoreError: the disk is full or gone.
        """
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {file.parent}: {error.strerror}", "free space, then resume") from error
        write_whole({file: json.dumps(record) + "\n"}, "free space, then resume")

    @contextlib.contextmanager
    def store(self, folder: Path, seed: int, portion: int) -> Iterator[Path]:
        """A path for the samples of a portion, which stay there only while they are being drawn."""
        path = folder / f"seed{seed}-{portion}.zarr"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            yield path
        except LimitError:
            # these walkers are left out, or all are drawn anew
            shutil.rmtree(path, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)

"""Samples on disk: a zarr v3 group that grows block by block and says at every moment how far it is complete.

``states`` is ``(walkers, snapshots, d)`` and ``start``, where the walkers began, ``(walkers, d)``, one chunk per block
of walkers (data made elsewhere have no start); ``steps`` are those of adaptive methods at the snapshots; the fold
records are four arrays under ``walls``. The group's attributes hold the metadata and ``progress``: blocks done, fold
records they have, counts, failures. ``progress`` is written after the data it speaks of, so that a store cut off
anywhere is still consistent.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import zarr
from zarr.codecs import Crc32cCodec

from pyness.errors import PynessError, StoreError
from pyness.sampling.plan import DTYPES
from pyness.sampling.samples import Samples, assemble
from pyness.sampling.walls import Walls
from pyness.systems import ParticleSystem, System

__all__ = ["FORMAT", "VERSION", "Store", "extent", "load", "save"]

FORMAT, VERSION = "pyness-samples", 1
_WALL_CHUNK = 65_536
_WALL_ARRAYS = {"walker": "int64", "face": "int64", "position": None, "displacement": None}


@contextlib.contextmanager
def _guarded(path: Path, doing: str) -> Iterator[None]:
    """Whatever goes wrong below becomes one line about ``path``."""
    try:
        yield
    except PynessError:
        raise
    except OSError as error:
        raise StoreError(
            f"cannot {doing} {path}: {error.strerror or error}", "free space or check the path, then resume or repeat"
        ) from error
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StoreError(f"cannot {doing} {path}: {first}", "it is damaged or no samples of pyness") from error


class Contents(NamedTuple):
    """States ``(walkers, snapshots, d)``, their folds, where they began ``(walkers, d)``, steps at the snapshots."""

    states: torch.Tensor
    walls: Walls
    start: torch.Tensor | None
    steps: torch.Tensor | None


class Store:
    """A store that is being filled.

    Args:
        path: where it is.
        group: the open zarr group.
    """

    def __init__(self, path: Path, group: zarr.Group) -> None:
        self.path = path
        self._group = group

    @classmethod
    def create(
        cls,
        path: str | Path,
        metadata: Mapping[str, Any],
        shape: tuple[int, int, int],
        block: int,
        *,
        started: bool = True,
        stepped: bool = False,
    ) -> Store:
        """A new store, complete as a file from the moment it has its name.

        Args:
            started, stepped: whether the start, and the steps at the snapshots, will be known.

        Raises:
            StoreError: the path exists or cannot be written.
        """
        path = Path(path)
        if path.exists() or path.is_symlink():
            raise StoreError(f"{path} exists", "give another path, or resume=True or overwrite=True")
        draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        with _guarded(path, "create"):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                group = zarr.create_group(draft, zarr_format=3)
                together = metadata["block"].get("snapshots", shape[1])
                _make_arrays(group, shape, metadata["plan"]["dtype"], block, together, started, stepped)
                progress = {"blocks": 0, "folds": 0, "counts": None, "failures": [], "seconds": 0.0}
                group.attrs.update({"format": FORMAT, "version": VERSION, **metadata, "progress": progress})
                os.rename(draft, path)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            return cls(path, zarr.open_group(path, mode="r+"))

    @classmethod
    def reopen(cls, path: str | Path) -> Store:
        """A store that may be continued.

        Raises:
            StoreError: no store of pyness, or damaged.
        """
        path = Path(path)
        _attributes(path)
        with _guarded(path, "open"):
            return cls(path, zarr.open_group(path, mode="r+"))

    @staticmethod
    def discard(path: str | Path) -> None:
        """Remove a store to make room for another; nothing else is ever removed.

        Raises:
            StoreError: what lies there is no store of pyness.
        """
        path = Path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            _attributes(path)
        with _guarded(path, "remove"):
            if path.exists():
                shutil.rmtree(path)

    @property
    def attributes(self) -> dict[str, Any]:
        return _attributes(self.path)

    def append(
        self,
        first: int,
        start: torch.Tensor | None,
        states: torch.Tensor,
        walls: Walls,
        progress: Mapping[str, Any],
        *,
        steps: torch.Tensor | None = None,
        snapshot: int = 0,
    ) -> None:
        """Write start and states of the walkers from ``first`` on and their folds, then the progress with them.

        Args:
            snapshot: number of the first snapshot among ``states``.

        Raises:
            StoreError: the disk is full or gone.
        """
        with _guarded(self.path, "write to"):
            if start is not None:
                self._group["start"][first : first + start.shape[0]] = start.cpu().numpy()
            walkers, snapshots = states.shape[:2]
            self._group["states"][first : first + walkers, snapshot : snapshot + snapshots] = states.cpu().numpy()
            if steps is not None:
                self._group["steps"][first : first + walkers, snapshot : snapshot + snapshots] = steps.cpu().numpy()
            begin, end = progress["folds"] - len(walls), progress["folds"]
            for name in _WALL_ARRAYS:
                array = self._group[f"walls/{name}"]
                array.resize((end, *array.shape[1:]))
                if end > begin:
                    array[begin:end] = getattr(walls, name).cpu().numpy()
            self._group.attrs["progress"] = dict(progress)

    def read_blocks(self) -> Contents:
        """What is there; states and steps are NaN where a round is not done.

        Raises:
            StoreError: truncated or damaged.
        """
        attributes = self.attributes
        with _guarded(self.path, "read"):
            return _read(self._group, attributes)


def _make_arrays(
    group: zarr.Group,
    shape: tuple[int, int, int],
    dtype: str,
    block: int,
    together: int,
    started: bool,
    stepped: bool,
) -> None:
    codecs = [Crc32cCodec()]
    walkers, snapshots, dim = shape
    arrays = {"states": (shape, (block, min(together, snapshots), dim))}
    if started:
        arrays["start"] = ((walkers, dim), (block, dim))
    if stepped:
        arrays["steps"] = ((walkers, snapshots), (block, min(together, snapshots)))
    for name, (whole, chunks) in arrays.items():
        group.create_array(name, shape=whole, chunks=chunks, dtype=dtype, fill_value=np.nan, compressors=codecs)
    walls = group.create_group("walls")
    for name, kind in _WALL_ARRAYS.items():
        tail = (shape[2],) if name == "position" else ()
        walls.create_array(
            name,
            shape=(0, *tail),
            chunks=(_WALL_CHUNK, *tail),
            dtype=kind or dtype,
            fill_value=-1 if kind else np.nan,
            compressors=codecs,
        )


def _attributes(path: Path) -> dict[str, Any]:
    """The attributes of the store, if it is one that this version reads."""
    if not path.exists():
        raise StoreError(f"{path} does not exist", "give the path of a store")
    try:
        record = json.loads((path / "zarr.json").read_text())
        attributes = record["attributes"]
        known = attributes.get("format") == FORMAT
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise StoreError(f"{path} is not a store of samples, or is damaged", "give a path that pyness wrote") from error
    if not known:
        raise StoreError(f"{path} is a zarr store of something else", "give a path that pyness wrote")
    if attributes.get("version") != VERSION:
        raise StoreError(
            f"{path} has format version {attributes.get('version')!r}, this pyness reads {VERSION}", "update pyness"
        )
    for key in ("system", "plan", "progress", "block"):
        if not isinstance(attributes.get(key), dict):
            raise StoreError(f"{path} lacks its {key}", "it is damaged; sample again")
    return attributes


def extent(attributes: Mapping[str, Any]) -> tuple[int, int]:
    """How many walkers there are, and how many snapshots of each are done."""
    plan, block, done = attributes["plan"], attributes["block"], attributes["progress"]["blocks"]
    together = block.get("snapshots", plan["snapshots"])
    turns = done // block.get("per_round", block["total"])
    if turns == 0:
        return min(plan["walkers"], done * block["rows"]), min(plan["snapshots"], together)
    return plan["walkers"], min(plan["snapshots"], turns * together)


def _read(group: zarr.Group, attributes: Mapping[str, Any]) -> Contents:
    plan, progress = attributes["plan"], attributes["progress"]
    shape = (plan["walkers"], plan["snapshots"], attributes["system"]["dim"])
    if group["states"].shape != shape or str(group["states"].dtype) not in DTYPES:
        raise ValueError(f"states have shape {group['states'].shape}, the plan says {shape}")
    walkers, snapshots = extent(attributes)
    states = torch.from_numpy(np.ascontiguousarray(group["states"][:walkers]))
    failed = [failure["walker"] for failure in progress["failures"]]
    broken = ~torch.isfinite(states[:, :snapshots]).flatten(1).all(1)
    broken[failed] = False
    if bool(broken.any()):
        raise ValueError(f"the states of {int(broken.sum())} walkers are missing: it is truncated")
    start = None
    if "start" in group:
        start = torch.from_numpy(np.ascontiguousarray(group["start"][:walkers]))
        if start.shape != (walkers, shape[2]) or not bool(torch.isfinite(start).all()):
            raise ValueError("where the walkers began is missing: it is truncated")
    steps = torch.from_numpy(np.ascontiguousarray(group["steps"][:walkers])) if "steps" in group else None
    columns = {}
    for name in _WALL_ARRAYS:
        array = group[f"walls/{name}"]
        if array.shape[0] < progress["folds"]:
            raise ValueError(f"walls/{name} has {array.shape[0]} of {progress['folds']} rows: it is truncated")
        columns[name] = torch.from_numpy(np.ascontiguousarray(array[: progress["folds"]]))
    walls = Walls(**columns, elapsed=attributes["elapsed"] or 0.0)
    outside = (walls.walker < 0) | (walls.walker >= walkers) | (walls.face < 0)
    if bool(outside.any()) or not bool(torch.isfinite(walls.displacement).all()):
        raise ValueError("fold records are missing: it is truncated")
    return Contents(states, walls, start, steps)


def load(path: str | Path, system: System | None = None) -> Samples:
    """See ``Samples.load``."""
    path = Path(path)
    attributes = _attributes(path)
    named = attributes["system"]
    if system is None:
        system = _registered(named)
    elif (system.name, system.dim) != (named.get("name"), named.get("dim")):
        raise StoreError(
            f"{path} holds samples of {named.get('name')!r} (d={named.get('dim')}), "
            f"not of {system.name!r} (d={system.dim})",
            "give the system they are of",
        )
    if isinstance(system, ParticleSystem) and named.get("domain") != system.box.to_dict():
        raise StoreError(
            f"{path} holds samples of another box than that of {system.name!r}, {system.box.to_dict()}",
            "give the system they are of",
        )
    if isinstance(system, ParticleSystem) and named.get("species") != system.to_dict()["species"]:
        raise StoreError(
            f"{path} holds samples of other species than those of {system.name!r}", "give the system they are of"
        )
    if attributes["progress"]["blocks"] == 0:
        raise StoreError(f"{path} was interrupted before its first block", "resume the run that made it")
    there = Store.reopen(path).read_blocks()
    done = extent(attributes)[1]
    with _guarded(path, "read"):
        steps = None if there.steps is None else there.steps[:, :done]
        return assemble(there.states[:, :done], there.walls, there.start, steps, attributes, system)


def save(samples: Samples, path: str | Path, *, overwrite: bool = False) -> None:
    """See ``Samples.save``."""
    path = Path(path)
    if overwrite:
        Store.discard(path)
    walls = samples.walls
    rows = min(samples.walkers, 4096)
    blocks = -(-samples.walkers // rows)
    plan = {
        **samples.metadata.get("plan", {}),
        "walkers": samples.walkers,
        "snapshots": samples.snapshots,
        "dtype": str(samples.states.dtype).removeprefix("torch."),
    }
    metadata = {
        **samples.metadata,
        "plan": plan,
        "block": {"rows": rows, "total": blocks},
        "times": samples.times.tolist(),
        "elapsed": None if walls is None else walls.elapsed,
        "stats": dict(samples.stats),
        "failures": [dict(failure) for failure in samples.failures],
    }
    known = {"started": samples.start is not None, "stepped": samples.steps is not None}
    store = Store.create(path, metadata, tuple(samples.states.shape), rows, **known)
    if walls is None:
        walls = Walls.none(samples.dim, 0.0, samples.states.dtype)
    progress = {"blocks": blocks, "folds": len(walls), "counts": None, "failures": []}
    store.append(0, samples.start, samples.states, walls, progress, steps=samples.steps)


def _registered(named: Mapping[str, Any]) -> System | None:
    from pyness import systems

    try:
        system = systems.get(named["name"], **named.get("parameters", {}))
    except PynessError:
        return None
    same = system.dim == named.get("dim") and system.to_dict().get("variables") == named.get("variables")
    return system if same else None

"""What tells one run from another, and the refusal to go on with another in its place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from pyness.errors import StoreError
from pyness.sampling.store import Store
from pyness.systems import System

__all__ = ["digest", "entropy", "equations", "refuse_other_run"]

#: Attributes of a store that are the same in the same run.
SAME = ("system", "equations", "algorithm", "options", "engine", "plan", "start", "versions")


def digest(states: torch.Tensor) -> str:
    """A short text that no other ``states`` have."""
    return "sha256:" + hashlib.sha256(states.contiguous().numpy().tobytes()).hexdigest()


def entropy(seed: int, start: str) -> int | list[int]:
    """What the seeds of the blocks are made from: the run's, and the ``digest`` of start states that were given.

    States that were given may be the end of a run of the same seed: followed by the noise they have come from, they
    would drift away from the steady state.
    """
    number = start.partition(":")[2]
    return [seed, int(number, 16)] if number else seed


def equations(system: System) -> str:
    """What tells systems apart that have one name and the same parameters: drift and noise at a few points."""
    x = system.domain.uniform(16, torch.Generator().manual_seed(0), dtype=torch.float64)
    return digest(torch.cat([system.drift(x), system.diffusion.apply(x, x)]).cpu())


def refuse_other_run(store: Store, attributes: Mapping[str, Any]) -> None:
    """Refuse a store of another run than that of ``attributes``.

    Raises:
        StoreError: what differs.
    """
    there = store.attributes
    for key in SAME:
        mine, theirs = _plain(attributes[key]), there.get(key)
        if mine != theirs:
            what = key
            if isinstance(mine, dict) and isinstance(theirs, dict):
                names = [name for name in mine if mine[name] != theirs.get(name)]
                what = ", ".join(f"{key}.{name} ({theirs.get(name)!r} there, {mine[name]!r} here)" for name in names)
            raise StoreError(
                f"{store.path} is another run: it differs in {what or key}", "give its settings, or another path"
            )


def _plain(value: Any) -> Any:
    """As it comes back from JSON."""
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value

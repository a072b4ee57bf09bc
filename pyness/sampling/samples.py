"""``Samples``: states of independent walkers, with what is needed to judge and to repeat them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pyness.errors import InputError
from pyness.sampling.stats import Stats
from pyness.sampling.walls import Walls
from pyness.systems import ParticleSystem, System

if TYPE_CHECKING:
    import xarray

__all__ = ["Samples", "assemble"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Snapshots of independent walkers.

    Walkers that failed are not in ``states``; they are in ``failures`` and counted in ``stats``.

    Attributes:
        states: ``(walkers, snapshots, d)``, contiguous.
        times: ``(snapshots,)`` float64, when each snapshot was taken, counted from the start.
        walls: the fold records after the burn-in; None for data made elsewhere, where nobody recorded them.
        stats: ``steps_accepted``, ``steps_rejected``, ``drift_evaluations``, ``wall_hits``, ``clipped``,
            ``failed_walkers``, ``seconds`` and ``step`` (``min``, ``mean``, ``max`` and, of adaptive runs, a
            ``histogram``).
        system: what was sampled; None where a file names a system that is not registered here.
        failures: for each walker that blew up its number, time, last finite state and the reason.
        metadata: system, solver, engine, plan and versions, as the store holds them.
        start: ``(walkers, d)``, where each walker began; None for data made elsewhere.
        steps: ``(walkers, snapshots)``, the step that an adaptive method was about to take at each snapshot: how its
            steps are distributed in time and, with ``states``, over the state space; None where that is not known.
    """

    states: torch.Tensor
    times: torch.Tensor
    walls: Walls | None
    stats: Mapping[str, Any]
    system: System | None
    failures: Sequence[Mapping[str, Any]] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    start: torch.Tensor | None = None
    steps: torch.Tensor | None = None

    @classmethod
    def from_states(cls, system: System, states: Any) -> Samples:
        """Samples from data somebody else made.

        Args:
            system: the system they are of.
            states: ``(n, d)``, each row an independent walker, or ``(walkers, snapshots, d)``; a tensor or an array.

        Raises:
            InputError: wrong shape, NaN, infinities, or states outside the domain.
        """
        states = system.check_states(states)
        if states.ndim not in (2, 3):
            raise InputError(
                f"states have shape {tuple(states.shape)}",
                f"give (n, {system.dim}) or (walkers, snapshots, {system.dim})",
            )
        states = (states.unsqueeze(1) if states.ndim == 2 else states).contiguous()
        times = torch.arange(states.shape[1], dtype=torch.float64)
        metadata = {"system": system.to_dict(), "engine": {"name": "given"}}
        return cls(states, times, None, {}, system, (), metadata)

    @property
    def walkers(self) -> int:
        return self.states.shape[0]

    @property
    def snapshots(self) -> int:
        return self.states.shape[1]

    @property
    def dim(self) -> int:
        return self.states.shape[2]

    @property
    def fingerprint(self) -> str:
        """What tells whether two ``Samples`` hold the same states: their shape and a checksum."""
        states = self.states.detach().cpu().contiguous()
        return f"{tuple(states.shape)}:{hashlib.sha256(states.numpy().tobytes()).hexdigest()[:16]}"

    @property
    def before(self) -> float:
        """How long the walkers had been followed before, where they went on from samples of the same equations."""
        return self.metadata.get("before", 0.0)

    def __len__(self) -> int:
        return self.walkers

    def __repr__(self) -> str:
        name = self.metadata.get("system", {}).get("name", "?")
        return f"<Samples of {name!r}: {self.walkers} walkers, {self.snapshots} snapshots, d={self.dim}>"

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Samples:
        """The same samples elsewhere or in another precision."""
        walls = None if self.walls is None else self.walls.to(device, dtype)
        start, steps = (None if t is None else t.to(device=device, dtype=dtype) for t in (self.start, self.steps))
        return replace(self, states=self.states.to(device=device, dtype=dtype), walls=walls, start=start, steps=steps)

    def select(self, walkers: Any) -> Samples:
        """Some walkers, renumbered in the given order, with their fold records.

        Args:
            walkers: distinct walker numbers, or a mask ``(walkers,)``.

        Raises:
            InputError: no walker, a number that does not exist, or one twice.
        """
        chosen = torch.as_tensor(walkers, device=self.states.device).flatten()
        if chosen.dtype == torch.bool and chosen.numel() == self.walkers:
            chosen = torch.nonzero(chosen).flatten()
        if chosen.numel() == 0 or chosen.is_floating_point() or chosen.dtype == torch.bool:
            raise InputError(f"walkers are {tuple(chosen.shape)} {chosen.dtype}", "give at least one walker number")
        chosen = chosen.to(torch.int64)
        if int(chosen.min()) < 0 or int(chosen.max()) >= self.walkers:
            raise InputError(
                f"walkers {int(chosen.min())} .. {int(chosen.max())} of {self.walkers}", f"use 0 .. {self.walkers - 1}"
            )
        if torch.unique(chosen).numel() != chosen.numel():
            raise InputError("some walker is chosen twice", "give distinct walker numbers")
        walls = None if self.walls is None else self.walls.select(chosen, self.walkers)
        start, steps = (None if t is None else t[chosen] for t in (self.start, self.steps))
        return replace(self, states=self.states[chosen].contiguous(), walls=walls, start=start, steps=steps)

    def split(self, fraction: float = 0.5, seed: int = 0) -> tuple[Samples, Samples]:
        """Two independent parts by walker, the first with ``fraction`` of them (at least one in each).

        Raises:
            InputError: a fraction that is not between 0 and 1, or a single walker.
        """
        if not 0 < fraction < 1:
            raise InputError(f"fraction is {fraction!r}", "give a number between 0 and 1")
        if self.walkers < 2:
            raise InputError(f"{self.walkers} walker cannot be split", "sample at least two walkers")
        order = torch.randperm(self.walkers, generator=torch.Generator().manual_seed(seed))
        cut = min(max(1, round(fraction * self.walkers)), self.walkers - 1)
        return self.select(order[:cut].sort().values), self.select(order[cut:].sort().values)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a zarr (v3) store.

        Raises:
            StoreError: the path exists, or cannot be written.
        """
        from pyness.sampling import store

        store.save(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path, system: System | None = None) -> Samples:
        """Read a store; of one that was interrupted, the walkers that are done (``metadata["complete"]`` is False).

        Args:
            path: the store.
            system: the system it is of, where that is not a registered one.

        Raises:
            StoreError: no such store, not one of pyness, truncated or damaged, or of another system.
        """
        from pyness.sampling import store

        return store.load(path, system)

    def to_xarray(self) -> xarray.Dataset:
        """The states as ``xarray``: variables by name over ``(walker, time)``, metadata as attributes.

        Of particles there are two variables: ``x`` over ``(walker, time, particle, space)`` and ``g``, the activities.
        """
        import xarray

        named = self.metadata.get("system", {})
        if isinstance(self.system, ParticleSystem):
            x, g = (part.cpu().numpy() for part in self.system.split(self.states))
            over = ("walker", "time", "particle")
            return xarray.Dataset(
                {"x": ((*over, "space"), x), "g": ((*over, "component"), g)},
                coords={"walker": range(self.walkers), "time": self.times.numpy()},
                attrs={"system": self.system.name, "solver": str(self.metadata.get("solver", ""))},
            )
        variables = named.get("variables") or [f"x{i + 1}" for i in range(self.dim)]
        values = self.states.cpu().numpy()
        return xarray.Dataset(
            {name: (("walker", "time"), values[..., i]) for i, name in enumerate(variables)},
            coords={"walker": range(self.walkers), "time": self.times.numpy()},
            attrs={"system": str(named.get("name", "")), "solver": str(self.metadata.get("solver", ""))},
        )


def assemble(
    states: torch.Tensor,
    walls: Walls,
    start: torch.Tensor | None,
    steps: torch.Tensor | None,
    attributes: Mapping[str, Any],
    system: System | None,
) -> Samples:
    """The samples that a run or a store holds, failed walkers left out.

    Args:
        states: ``(walkers, snapshots, d)`` of the blocks that are done.
        walls: their folds; those of failed walkers are not among them.
        start: ``(walkers, d)``, where they began, if known.
        steps: ``(walkers, snapshots)``, the steps at the snapshots, if known.
        attributes: the attributes of the store (or what would stand there), see ``pyness.sampling.store``.
        system: the system, if known.
    """
    progress, total = attributes["progress"], states.shape[0]
    failures = [*attributes.get("failures", []), *progress["failures"]]
    if progress["failures"]:
        alive = torch.ones(total, dtype=torch.bool, device=states.device)
        alive[[failure["walker"] for failure in progress["failures"]]] = False
        kept = torch.nonzero(alive).flatten()
        states, walls = states[kept].contiguous(), walls.select(kept, total)
        start, steps = (None if t is None else t[kept] for t in (start, steps))
    stats = attributes.get("stats")
    if stats is None:
        counts = Stats(**progress["counts"]).to_dict()
        stats = {**counts, "failed_walkers": len(failures), "seconds": progress["seconds"]}
    hidden = ("progress", "stats", "failures", "times", "elapsed", "format", "version", "block")
    metadata = {key: value for key, value in attributes.items() if key not in hidden}
    metadata["complete"] = progress["blocks"] == attributes["block"]["total"]
    times = torch.tensor(attributes["times"], dtype=torch.float64)[: states.shape[1]]
    recorded = None if attributes["elapsed"] is None else walls
    if steps is not None and not bool(torch.isfinite(steps).any()):
        steps = None
    return Samples(states.contiguous(), times, recorded, stats, system, failures, metadata, start, steps)

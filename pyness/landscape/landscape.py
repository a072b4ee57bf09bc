"""``Landscape``: a learnt potential, its current velocity, and what samples say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from pyness.errors import InputError, PynessError, StoreError
from pyness.estimators import Certificate, Estimate, Report, certify, score_free_epr, stationarity
from pyness.estimators.averages import has_walls
from pyness.estimators.judging import judging
from pyness.estimators.score_free import check_samples
from pyness.files import write_whole
from pyness.landscape.basins import Basins, find_basins
from pyness.landscape.flow import Flow
from pyness.landscape.network import BASE, NAMES, Network, passes
from pyness.landscape.tangent import value_rows
from pyness.numbers import percent
from pyness.sampling import Samples
from pyness.systems import System, get
from pyness.systems.derivatives import value_and_divergence

__all__ = ["Landscape"]

FORMAT = 1


class Landscape:
    """A potential ``U = -D log p`` (``-log p`` where ``D`` is not a number) in closed form.

    Attributes:
        system: the system it belongs to.
        network: the potential up to a constant, a ``Network`` or a ``Flow``.
        metadata: options, seed, which samples it was trained on.
        uncertainty: ``deviations (P, groups)`` of the weights and ``lowest_at (d,)``, the lowest training state; empty
            for a method whose potential has none.
        samples: those it was trained on, for reports that are not given any; None where it was read from a file.
    """

    def __init__(
        self,
        system: System,
        network: Network | Flow,
        lowest: float,
        metadata: Mapping[str, Any],
        uncertainty: Mapping[str, torch.Tensor] = MappingProxyType({}),
        samples: Samples | None = None,
    ) -> None:
        self.system, self.network, self.lowest, self.metadata = system, network, lowest, dict(metadata)
        self.samples = samples
        self.uncertainty = dict(uncertainty)

    def potential(self, x: torch.Tensor) -> torch.Tensor:
        """``U`` at ``x: (..., d)``, ``(...,)``, minimum 0 over the training samples."""
        flat = self._states(x)
        value = torch.cat([self.network.value(self.network.places(part, 0)) for part in flat.split(8192)])
        return (self.system.potential_scale * (value - self.lowest)).reshape(x.shape[:-1]).to(x.dtype)

    def potential_stderr(self, x: torch.Tensor) -> torch.Tensor:
        """Standard error of ``U(x)``, which counts from the lowest training state, at ``x: (..., d)``, ``(...,)``.

        Over other walkers, see ``pyness.landscape.uncertainty``.

        Raises:
            InputError: a method without uncertainty.
        """
        return self.deviations(x).norm(dim=-1)

    def deviations(self, x: torch.Tensor) -> torch.Tensor:
        """How ``U(x)`` moves with each of some groups of walkers, at ``x: (..., d)``, ``(..., groups)``.

        The root of their square sum is the standard error; that of what is made of ``U`` comes from the same groups.

        Raises:
            InputError: a method without uncertainty.
        """
        moved = torch.cat([self._moved(part) for part in self._states(x).split(4096)])
        return (self.system.potential_scale * moved).reshape(*x.shape[:-1], -1).to(x.dtype)

    def difference(self, a: torch.Tensor, b: torch.Tensor) -> Estimate:
        """``U(a) - U(b)`` of two states ``(d,)`` with its standard error, their correlation included."""
        pair = self._states(torch.stack([a, b]))
        value = self.network.value(self.network.places(pair, 0))
        stderr = float("nan")
        if self.uncertainty:
            moved = self._moved(pair)
            stderr = (moved[0] - moved[1]).norm().item()
        scale = self.system.potential_scale
        return Estimate(scale * (value[0] - value[1]).item(), scale * stderr)

    def basins(self, samples: Samples) -> Basins:
        """Minima, populations, saddles and barriers with their errors, from ``samples`` of the system.

        Raises:
            InputError: samples of another dimension.
        """
        check_samples(self.system, samples)
        return find_basins(self, samples)

    def _moved(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, groups)``: how the potential at ``x: (n, d)`` moves with each group of walkers, in ``k_B T``."""
        if not self.uncertainty:
            method = self.metadata["options"].get("method", "enhanced")
            raise InputError(
                f"a potential by method {method!r} has no uncertainty",
                "train on more walkers" if method in ("enhanced", "epr") else "take method='enhanced'",
            )
        places, zero = self.network.places(x, 0), self.network.places(self.uncertainty["lowest_at"][None], 0)
        rows = value_rows(self.network, places) - value_rows(self.network, zero)
        return rows @ self.uncertainty["deviations"]

    def current_velocity(self, x: torch.Tensor) -> torch.Tensor:
        """``v = F_v + D grad Phi`` at ``x: (..., d)``, ``(..., d)``."""
        flat = self._states(x)
        gradient = torch.cat([self.network.gradient(self.network.places(part, 1)) for part in flat.split(8192)])
        velocity = self.system.modified_drift(flat) + self.system.diffusion.apply(flat, gradient)
        return velocity.reshape(x.shape).to(x.dtype)

    def velocity_and_divergence(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``v: (n, d)`` and ``div v: (n,)`` at ``x: (n, d)``, both in closed form but for ``div F_v``."""
        parts = [self._velocity(part) for part in self._states(x).split(8192)]
        return torch.cat([v for v, _ in parts]), torch.cat([div for _, div in parts])

    def report(self, samples: Samples | None = None) -> Report:
        """Every number with its error bar.

        Of the samples it was trained on only the walkers held out count; of any other samples all.

        Args:
            samples: fresh ones; those it was trained on where it is at hand since.

        Raises:
            InputError: no samples, or of another dimension.
        """
        samples, judged = judging(self.system, samples, self.samples, self.metadata)
        found = certify(self.system, judged, self.current_velocity, self.velocity_and_divergence)
        test = stationarity(self.system, samples)
        return Report(
            system=self.system.name,
            epr=found.midpoint,
            epr_upper=found.upper,
            epr_lower=found.lower,
            epr_score_free=score_free_epr(self.system, samples),
            gradient_error=found.relative,
            stationarity=test,
            warnings=(*test.warnings, *self._warnings(self.system, samples, found)),
            states=judged.walkers * judged.snapshots,
            extra=self._method() | find_basins(self, judged).to_dict(),
        )

    def _method(self) -> dict[str, str]:
        """By what the potential was learnt and how ``div(D grad Phi)`` and ``div F_v`` are taken."""
        return {
            "method": self.metadata["options"].get("method", "enhanced"),
            "laplacian": self.network.laplacian,
            "drift_divergence": passes(self.system),
        }

    @staticmethod
    def _warnings(system: System, samples: Samples, found: Certificate) -> list[str]:
        notes = []
        if has_walls(system) and samples.walls is None:
            notes.append(
                "no fold records: what reflecting walls contribute to the entropy production is missing; "
                "sample with pyness to have it"
            )
        if found.gap.z < -4:
            notes.append(
                f"the gradient error is negative by {-found.gap.z:.1f} standard errors: biased samples or a "
                "missing wall term"
            )
        if found.relative.value > 0.1:
            notes.append(f"gradient error {percent(found.relative.value)}: the bounds are loose; give more units")
        failed = len(samples.failures)
        if failed:
            notes.append(f"{failed} walkers failed and are not among the samples")
        return notes

    def save(self, path: str | Path) -> None:
        """Write ``path`` (safetensors) and the JSON sidecar beside it; both appear whole or not at all.

        Raises:
            StoreError: they cannot be written.
        """
        from safetensors.torch import save

        path = Path(path)
        tensors = {**self.network.tensors, **self._extra_tensors()}
        tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        sidecar = {
            "format": FORMAT, "kind": "pyness landscape", **self._described(), "lowest": self.lowest, **self.metadata,
        }  # fmt: skip
        note = json.dumps(sidecar, indent=2) + "\n"
        write_whole({path: save(tensors), path.with_suffix(".json"): note}, "give a path that can be written")

    def _extra_tensors(self) -> dict[str, torch.Tensor]:
        return {f"uncertainty.{name}": t for name, t in self.uncertainty.items()}

    def _described(self) -> dict[str, Any]:
        return {"system": self.system.to_dict()}

    @classmethod
    def load(cls, path: str | Path, system: System | None = None, reduce: Any = None) -> Landscape:
        """Read what ``save`` wrote.

        Args:
            system: the system, where it is not a registered one.
            reduce: the collective variables, where they are a function.

        Raises:
            InputError: collective variables that are a function and were not given.
            StoreError: no such file, truncated, foreign, or of another system.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if system is not None and not isinstance(system, System):
            raise InputError(f"system is {system!r}", "give a System")
        path = Path(path)
        note = path.with_suffix(".json")
        for file in (path, note):
            if not file.is_file():
                raise StoreError(
                    f"{file} does not exist", "give the .safetensors file of a landscape, its .json beside it"
                )
        try:
            # copies lie in memory as those of a training do, which decides the last bits of matrix products
            tensors = {name: tensor.clone() for name, tensor in load_file(str(path)).items()}
            sidecar = json.loads(note.read_text(encoding="utf-8"))
            if sidecar["kind"] != "pyness landscape" or sidecar["format"] != FORMAT:
                raise KeyError("kind")
            described = sidecar["system"]
            lowest = float(sidecar["lowest"])
            metadata = {key: sidecar[key] for key in ("options", "seed", "samples")}
            flow = metadata["options"].get("method") == "flow"
            own = {name for name in tensors if "." not in name}
            names = flow or own - set(BASE) == set(NAMES)
            reduced = sidecar.get("reduce")
            # before there were offsets each fast coordinate had one number
            names = names and (flow or tensors["fast"].shape[1:] == (3,))
            if not names or len(tensors["center"]) != (len(reduced["low"]) if reduced else described["dim"]):
                raise KeyError("tensors")
        except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise StoreError(f"{path} is damaged or no landscape of pyness", "train it again") from error
        system = system or _registered(described, path)
        if system.dim != described["dim"] or system.name != described["name"]:
            raise StoreError(
                f"{path} is a landscape of {described['name']!r} (d={described['dim']}), not of {system.name!r} "
                f"(d={system.dim})",
                "give the system it was trained for",
            )
        names = [name for name in tensors if name.startswith("uncertainty.")]
        uncertainty = {name.removeprefix("uncertainty."): tensors.pop(name) for name in names}
        if not reduced:
            return cls(system, _restored(tensors, system, metadata["options"], path), lowest, metadata, uncertainty)
        from pyness.landscape.reduced import ReducedLandscape, restore

        try:
            reduction, tensors = restore(system, tensors, reduced, reduce, metadata["options"]["reduce"])
        except (KeyError, RuntimeError, TypeError) as error:
            raise StoreError(f"{path} is damaged or no landscape of pyness", "train it again") from error
        network = _restored(tensors, reduction.system, metadata["options"], path)
        return ReducedLandscape(reduction, network, lowest, metadata, uncertainty)

    def _states(self, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, torch.Tensor) or x.shape[-1] != self.system.dim:
            shape = tuple(x.shape) if hasattr(x, "shape") else type(x).__name__
            raise InputError(
                f"x is {shape}, system {self.system.name!r} has {self.system.dim} coordinates",
                f"give a tensor (..., {self.system.dim})",
            )
        return x.reshape(-1, self.system.dim).to(self.network.tensors["center"])

    def _velocity(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gradient, curvature = self.network.gradient_and_curvature(self.system, self.network.places(x))
        drift, div = value_and_divergence(self.system.modified_drift, x)
        return drift + self.system.diffusion.apply(x, gradient), div + curvature


def _restored(
    tensors: dict[str, torch.Tensor], system: System, options: Mapping[str, Any], path: Path
) -> Network | Flow:
    if options.get("method") != "flow":
        return Network(tensors, system)
    try:
        return Flow(tensors, options["units"])
    except ImportError:
        raise StoreError(f"{path} holds a flow and zuko is not installed", "pip install 'pyness[flow]'") from None
    except (RuntimeError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged or no landscape of pyness", "train it again") from error


def _registered(described: Mapping[str, Any], path: Path) -> System:
    try:
        return get(described["name"], **described["parameters"])
    except PynessError as error:
        raise StoreError(
            f"{path} belongs to {described['name']!r}, which is no registered system", "pass system= to load"
        ) from error

"""``Score``: a learnt ``grad log p``, its current velocity, and what samples say of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyness.errors import InputError, PynessError, StoreError, UnknownNameError
from pyness.estimators import Estimate, Report, stationarity
from pyness.estimators.judging import judging
from pyness.estimators.local import LocalEPR, activity_epr, has_phases, local_epr, position_epr
from pyness.estimators.profiles import Profile, SpatialMap, profile, spatial_map
from pyness.estimators.score_certificate import certify_score, noisy
from pyness.files import write_whole
from pyness.sampling import Samples
from pyness.score.networks import build
from pyness.score.shift import choose
from pyness.systems import ParticleSystem, System, get

__all__ = ["Score"]

FORMAT = 1
#: Numbers a network evaluates at a time at the most.
ENTRIES = 1 << 17
#: Random directions for derivatives that are not taken exactly: of one state, and of each of so many that they average.
PROBES, MANY = 4, 100
CONVENTION = "g even under time reversal"
#: Persistence times that a trajectory should cover, and share of the current that a score may leave unresolved.
COVERED, UNRESOLVED = 3.0, 0.1


class Score:
    """``s = grad log p`` of a system as a network.

    Attributes:
        system: the system it belongs to.
        network: maps states ``(n, d)`` to scores.
        metadata: architecture, options, seed, which samples it was trained on.
        samples: those, for reports that are not given any; None where it was read from a file or transferred.
    """

    def __init__(
        self, system: System, network: nn.Module, metadata: Mapping[str, Any], samples: Samples | None = None
    ) -> None:
        self.system, self.network, self.metadata, self.samples = system, network, dict(metadata), samples
        self._device = next(network.parameters()).device

    def score(self, x: torch.Tensor) -> torch.Tensor:
        """``s`` at ``x: (..., d)``, ``(..., d)``; NaN in coordinates without noise, whose score is not learnt."""
        flat = self._states(x)
        with torch.no_grad():
            s = torch.cat([self.network(part) for part in self._parts(flat)])
        s = torch.where(noisy(self.system).to(s.device), s, torch.nan)
        return s.reshape(x.shape).to(x.dtype)

    def current_velocity(self, x: torch.Tensor) -> torch.Tensor:
        """``v = F_v - D s`` at ``x: (..., d)``, ``(..., d)``; where a coordinate has no noise it is the drift."""
        s = torch.nan_to_num(self.score(x))
        return self.system.modified_drift(x) - self.system.diffusion.apply(x, s)

    def with_terms(self, x: torch.Tensor, probes: int = PROBES) -> tuple[torch.Tensor, torch.Tensor]:
        """Score and ``d_i (D s)_i`` at ``x: (n, d)``, 0 where a coordinate has no noise.

        The terms of one particle's coordinates mean something in sum only. Where there are many, those of positions
        (of activities in ``"contacts"``, of all in a gradient) are drawn at random, always in the same way, and right
        on average.
        """
        generator = torch.Generator(self._device).manual_seed(0)
        with torch.no_grad():
            pairs = [self.network.with_terms(part, generator, probes) for part in self._parts(self._states(x))]
        s, terms = (torch.cat(column).to(x.dtype).to(x.device) for column in zip(*pairs, strict=True))
        return s, terms

    def local(self, x: torch.Tensor) -> LocalEPR:
        """Entropy production of each particle at ``x: (n, d)`` (``pyness.estimators.local``).

        Raises:
            InputError: the system has no particles, or other states.
        """
        if not isinstance(self.system, ParticleSystem):
            raise InputError(f"{self.system.name!r} has no particles", "give a score of a ParticleSystem")
        if self._states(x).shape != x.shape:
            raise InputError(f"x is {tuple(x.shape)}", f"give a tensor (n, {self.system.dim})")
        return local_epr(self.system, x.double(), self.with_terms)

    def profile(self, samples: Samples, by: str = "density", *, part: str = "activity", bins: int = 12) -> Profile:
        """Entropy production of particles given where they are, with error bars.

        Args:
            samples: of those it was trained on only the walkers held out count.
            by: ``"region"`` (gas, interface, dense), ``"density"`` or ``"distance"`` to the interface.
            part: ``"activity"`` or ``"position"``.
            bins: for distances.

        Raises:
            InputError: no particles, or none that can be sorted so (``pyness.estimators.profile``).
        """
        return profile(self.system, self._judged(samples), self._rate(part), by, bins)

    def map(self, samples: Samples, *, part: str = "activity", bins: int = 32, centred: bool = False) -> SpatialMap:
        """Entropy production of particles by position in the plane, with error bars.

        Args:
            samples, part: as for ``profile``.
            bins: cells along each side.
            centred: each snapshot with its dense phase in the middle.

        Raises:
            InputError: particles not in the plane, or without what is centred (``pyness.estimators.spatial_map``).
        """
        return spatial_map(self.system, self._judged(samples), self._rate(part), bins, centred)

    def _rate(self, part: str) -> Callable[[torch.Tensor], torch.Tensor]:
        parts = {"activity": activity_epr, "position": position_epr}
        if part not in parts:
            raise UnknownNameError.of("part", str(part), parts)
        if part == "position" and self.system.noise == 0:
            raise InputError(
                f"part is 'position' of {self.system.name!r}, without noise of positions", "take 'activity'"
            )
        return lambda x: parts[part](self.system, x, self.score(x))

    def _judged(self, samples: Samples) -> Samples:
        """Samples that the score was not trained on."""
        return judging(self.system, samples, self.samples, self.metadata)[1]

    def transferred(self, system: System) -> Score:
        """The same network on another system: another number of particles or box.

        Raises:
            InputError: another species, dimension, activity, kind of noise or of sides; a network or a shift that the
                system cannot have.
        """
        mine = self.system
        if not isinstance(mine, ParticleSystem) or not isinstance(system, ParticleSystem):
            other = getattr(system, "name", system)
            raise InputError(f"a score of {mine.name!r} on {other!r}", "only particle systems can be exchanged")
        architecture = self.metadata["network"]
        _check_alike(mine.to_dict(), system, architecture["arch"])
        network = build(system, architecture, choose(system, self.metadata["shift"]))
        network.load_state_dict(self.network.state_dict())
        return Score(system, network.to(self._device), {**self.metadata, "samples": None})

    def report(self, samples: Samples | None = None) -> Report:
        """Every number with its error bar.

        Of the samples it was trained on only the walkers held out count; of any other samples all. ``epr`` is the
        score-free value with zero-mean control variates. Where the positions have no noise the total does not exist,
        and ``epr`` is the activity part ``E[v_g^2] / gamma``, which is known exactly from the forces; of a plain system
        that of the coordinates with noise.

        Args:
            samples: fresh ones; those it was trained on where it is at hand since.

        Raises:
            InputError: no samples, or of another dimension.
        """
        samples, judged = judging(self.system, samples, self.samples, self.metadata)
        gradient = bool(getattr(self.network, "gradient", False))
        probes = 1 if judged.walkers * judged.snapshots >= MANY else PROBES
        found = certify_score(self.system, judged, lambda x: self.with_terms(x, probes), gradient=gradient)
        test = stationarity(self.system, samples)
        notes = list(test.warnings)
        if self.metadata["options"]["loss"] == "denoising":
            only = self.metadata["options"]["perturb"] == "g" and isinstance(self.system, ParticleSystem)
            moved = "activities" if only else "all coordinates"
            alpha = self.metadata["options"]["alpha"]
            notes.append(f"trained with smoothing alpha = {alpha:g} of {moved}: what varies within it is not resolved")
        if self.metadata["options"]["loss"] == "dynamics":
            alpha = self.metadata["options"]["alpha"]
            notes.append(f"trained by the noise of a step alpha = {alpha:g}: biased in proportion to it")
        if found.gradient is False:
            notes.append(
                f"the defect is {abs(found.defect.z):.1f} standard errors from 0, and of a gradient it is 0: the "
                "samples are not stationary, or forces are no gradient; it takes no noise out of the entropy production"
            )
        particles = isinstance(self.system, ParticleSystem)
        if not found.complete and particles:
            notes.append("positions have no noise of their own: the EPR is the activity part, E[v_g^2] / gamma")
        elif not found.complete:
            notes.append(
                f"{self._quiet()} has no noise: the EPR is that of the others, E[v . D^{{-1}} v], as if all variables "
                "were even under time reversal; of velocities, which are odd, it is none"
            )
        moving = not found.epr.value <= 3 * found.epr.stderr
        if moving and found.against_current.value > UNRESOLVED:
            notes.append(
                f"the score leaves {found.against_current} of the current unresolved here: maps of it and the parts as "
                "learnt are off by as much; learn longer, from more samples, or from samples of this system"
            )
        extra: dict[str, Any] = {
            "convention": CONVENTION if particles else "all variables even",
            "epr_of": "all coordinates" if found.complete else "activity" if particles else "coordinates with noise",
            "epr_from": found.epr_from,
            "excess": found.excess.to_dict(),
            "error_against_current": found.against_current.to_dict(),
            "parts": {name: block.to_dict() for name, block in found.blocks.items()},
        }
        if found.complete:
            extra |= {"midpoint": found.midpoint.to_dict(), "scale_free": found.scale_free.to_dict()}
        if found.identities:
            extra["identities"] = {name: value.to_dict() for name, value in found.identities.items()}
        if particles and samples.stats:
            # burn-in and what it went on from included: how long a trajectory is against the memory of its activities
            followed = samples.before + samples.times[-1].item()
            covered = extra["persistence_times"] = followed * self.system.activity.rate
            if covered < COVERED:
                notes.append(
                    f"each trajectory covers {covered:.2g} persistence times of the activity: what needs several, as "
                    "dense phases of many particles, is still that of the start; burn in longer"
                )
        if found.by_particle is not None:
            extra["error_by_particle"] = _spread(found.by_particle)
        if has_phases(self.system):
            extra["regions"] = self._regions(judged)
        return Report(
            system=self.system.name,
            epr=found.epr,
            epr_upper=found.upper,
            epr_lower=found.lower,
            epr_score_free=found.score_free,
            gradient_error=found.relative,
            defect=found.defect,
            stationarity=test,
            warnings=tuple(notes),
            states=judged.walkers * judged.snapshots,
            extra=extra,
        )

    def _quiet(self) -> str:
        """Names of the coordinates without noise."""
        loud = noisy(self.system).tolist()
        return ", ".join(name for name, own in zip(self.system.variables, loud, strict=True) if not own)

    def _regions(self, samples: Samples) -> dict[str, Any]:
        """Shares of particles and of the activity part, and its mean per particle, by phase."""
        found = profile(self.system, samples, self._rate("activity"), "region")
        rows = zip(found.at, found.particles, found.share, found.mean, strict=True)
        return {
            name: {"particles": held.to_dict(), "share": share.to_dict(), "mean": mean.to_dict()}
            for name, held, share, mean in rows
        }

    def save(self, path: str | Path) -> None:
        """Write ``path`` (safetensors) and the JSON sidecar beside it; both appear whole or not at all.

        Raises:
            StoreError: they cannot be written.
        """
        from safetensors.torch import save

        path = Path(path)
        tensors = {name: t.detach().cpu().contiguous() for name, t in self.network.state_dict().items()}
        sidecar = {"format": FORMAT, "kind": "pyness score", "system": self.system.to_dict(), **self.metadata}
        note = json.dumps(sidecar, indent=2) + "\n"
        write_whole({path: save(tensors), path.with_suffix(".json"): note}, "give a path that can be written")

    @classmethod
    def load(cls, path: str | Path, system: System | None = None) -> Score:
        """Read what ``save`` wrote.

        Args:
            system: the system, where it is not a registered one, or another one to use the network on.

        Raises:
            StoreError: no such file, truncated or foreign.
            InputError: a system that the network does not fit.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if system is not None and not isinstance(system, System):
            raise InputError(f"system is {system!r}", "give a System")
        path = Path(path)
        for file in (path, path.with_suffix(".json")):
            if not file.is_file():
                raise StoreError(f"{file} does not exist", "give the .safetensors file of a score, its .json beside it")
        try:
            tensors = load_file(str(path))
            sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            if sidecar["kind"] != "pyness score" or sidecar["format"] != FORMAT:
                raise KeyError("kind")
            described = sidecar["system"]
            metadata = {key: sidecar[key] for key in ("network", "shift", "options", "seed", "samples")}
            own = _registered(described)
            if own is None and system is not None and (system.name, system.dim) == (
                described["name"], described["dim"]
            ):  # fmt: skip
                if isinstance(system, ParticleSystem) and "particles" in described:
                    _check_kind(described, system)
                own = system
            if own is None and isinstance(system, ParticleSystem) and "particles" in described:
                _check_alike(described, system, metadata["network"]["arch"])
                own, metadata["shift"] = system, choose(system, metadata["shift"])
                metadata["samples"] = None
            if own is None:
                remedy = "pass system=" if system is None else f"pass it as system=, not {system.name!r}"
                raise StoreError(f"{path} belongs to {described['name']!r}, which is not registered", remedy)
            network = build(own, metadata["network"], metadata["shift"])
            network.load_state_dict(tensors)
        except PynessError:
            raise
        except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
            raise StoreError(f"{path} is damaged or no score of pyness", "train it again") from error
        score = cls(own, network, metadata)
        if system is None or system is own or system.to_dict() == own.to_dict():
            return score
        return score.transferred(system)

    def _states(self, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(x, torch.Tensor) or x.ndim == 0 or x.shape[-1] != self.system.dim:
            shape = tuple(x.shape) if hasattr(x, "shape") else type(x).__name__
            raise InputError(
                f"x is {shape}, system {self.system.name!r} has {self.system.dim} coordinates",
                f"give a tensor (..., {self.system.dim}), or transfer the score to the system it is of",
            )
        return x.reshape(-1, self.system.dim).to(self._device)

    def _parts(self, flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
        system = self.system
        # where every particle sees every other, or so many neighbours as tokens, it is they that fill the memory
        crowded = isinstance(system, ParticleSystem) and system.cutoff is None
        seen = system.n_particles if crowded else getattr(self.network, "neighbours", 0)
        return flat.split(max(1, ENTRIES // (system.dim * (1 + seen // 8))))


def _spread(values: torch.Tensor) -> dict[str, Any]:
    """Mean over particles of ``values: (walkers, N)``, and the particles with the least and the most."""
    mean = values.mean(0)
    columns = {"mean": values.mean(1), "least": values[:, mean.argmin()], "most": values[:, mean.argmax()]}
    return {name: Estimate.over_walkers(column).to_dict() for name, column in columns.items()}


def _check_alike(trained: Mapping[str, Any], system: ParticleSystem, arch: str) -> None:
    """Whether what a network of the ``trained`` system, as files record it, has learnt can be asked of another."""
    if arch == "dense":
        raise InputError("a dense network has one input for each coordinate", "train a particle network")
    _check_kind(trained, system)


def _check_kind(trained: Mapping[str, Any], system: ParticleSystem) -> None:
    for (what, own), (_, other) in zip(_kind(trained), _kind(system.to_dict()), strict=True):
        if own != other:
            raise InputError(f"{what} is {own!r} where it was trained and {other!r} here", "train a score for it")


def _kind(described: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What a network depends on of a particle system."""
    noise, activity = described["noise"] > 0, described["activity"]
    return [
        ("space_dim", described["space_dim"]),
        ("activity", activity["kind"]),
        ("noise of positions", noise),
        ("self-propulsion without such noise", not noise and activity["speed"] > 0),
        ("a box with open sides", "open" in described["domain"]["boundary"]),
        ("species", None if described["species"] is None else sorted(set(described["species"]))),
        ("cutoff", described["cutoff"]),
        ("pair force at some distances", described["pair_force"]),
    ]


def _registered(described: Mapping[str, Any]) -> System | None:
    try:
        return get(described["name"], **described["parameters"])
    except PynessError:
        return None

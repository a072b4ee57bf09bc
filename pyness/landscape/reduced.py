"""Landscapes in collective variables: the closed dynamics they are made of, and what it says and does not say.

The drift of ``z`` given ``z`` alone, ``F_r = E[F_z | z]``, is regressed from the samples (the projected force of
landscapes.md, 2.4); EPR loss and contrast see the drift of each sample itself, the HJB residual sees the regression.
What is called the apparent entropy production is that of the closed dynamics, at most the full one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from pyness.errors import InputError
from pyness.estimators import Estimate, Report, certify, score_free_epr, stationarity
from pyness.estimators.averages import surface_per_walker, volume_per_walker
from pyness.estimators.judging import judging
from pyness.estimators.score_free import check_samples, fisher_per_walker
from pyness.landscape import clouds
from pyness.landscape.basins import Basins, find_basins
from pyness.landscape.collective import Collective
from pyness.landscape.landscape import Landscape
from pyness.landscape.network import Network, passes
from pyness.landscape.regression import Regression
from pyness.numbers import percent
from pyness.sampling import Samples
from pyness.systems import System
from pyness.systems.derivatives import value_and_divergence

__all__ = ["ReducedLandscape", "Reduction", "reduce_system"]

UNITS = 100
PAIRS = 200_000
#: What a state of wider noise counts in the regression: enough where there are no samples, nothing where there are.
WIDE = 0.01
CLOUD = 20_000
PUSHED = 0.02


@dataclass(frozen=True)
class Reduction:
    """A system in collective variables.

    Attributes:
        collective: ``z = xi(x)``, with the full system.
        system: of ``z``, its drift ``E[F_z | z]`` and its diffusion ``E[grad xi D grad xi^T | z]``.
        force: the regression of the drift.
        noise: that of the diffusion, None where it is constant.
    """

    collective: Collective
    system: System
    force: Regression
    noise: Regression | None

    def samples(self, samples: Samples) -> Samples:
        """The samples in ``z``."""
        return self.collective.samples(self.system, samples)

    def drift(self, x: torch.Tensor) -> torch.Tensor:
        """``F_z - div D_r``, ``(n, k)``, what ``x: (n, d)`` says of the modified drift."""
        F = torch.cat([self.collective.drift(part) for part in x.split(8192)])
        D = self.system.diffusion
        return F if D.constant else F - D.divergence(self.collective(x))


def reduce_system(
    system: System, collective: Collective, training: Samples, seed: int, widening: float | None
) -> Reduction:
    """The closed dynamics of ``collective`` as far as ``training`` samples tell.

    Args:
        widening: noise of further states that keep the regression sane where there are no samples; None for none.

    Raises:
        InputError: variables that are degenerate on the samples, a noise that does not stay positive between them.
    """
    collective.check(training)
    generator = torch.Generator().manual_seed(seed)
    x = training.states.reshape(-1, system.dim).double()
    x = x[torch.randperm(len(x), generator=generator)[:PAIRS]]
    weight = x.new_ones(len(x))
    if widening is not None:
        rate = fisher_per_walker(system, training).mean().item()
        wide = clouds.widened(system, training, widening, CLOUD, rate, seed).to(x)
        x, weight = torch.cat([x, wide]), torch.cat([weight, weight.new_full((len(wide),), WIDE)])
    z = collective(x)
    drift = torch.cat([collective.drift(part) for part in x.split(8192)])
    force = Regression.fit(z, drift, weight, UNITS, generator)
    noise = None
    if collective.matrix is not None and system.diffusion.constant:
        noise_of = _simplest(collective.diffusion(x[:1])[0])
    else:
        entries = torch.cat([_entries(collective.diffusion(part)) for part in x.split(8192)])
        noise = Regression.fit(z, entries, weight, UNITS, generator)
        noise_of = _matrices(noise, collective.dim)
    return Reduction(collective, _closed(collective, force, noise_of, z), force, noise)


def _closed(collective: Collective, force: Regression, noise: Any, z: torch.Tensor) -> System:
    full = collective.system
    try:
        return System(
            f"{full.name} in ({', '.join(collective.names)})", collective.dim, force, noise, collective.box(z),
            collective.names, parameters=full.parameters, source=f"closed dynamics of {full.name}",
        )  # fmt: skip
    except InputError as error:
        raise InputError(f"the closed dynamics cannot be made: {error}", "take other variables") from error


def _simplest(D: torch.Tensor) -> float | list[float] | torch.Tensor:
    """A constant ``D: (k, k)`` as a number or a diagonal where it is one, so that the potential has its units."""
    diagonal = torch.diagonal(D)
    if not torch.allclose(D, torch.diag(diagonal), rtol=0, atol=1e-12 * D.abs().max().item()):
        return D
    if torch.allclose(diagonal, diagonal[0].expand_as(diagonal), rtol=1e-12):
        return diagonal[0].item()
    return diagonal.tolist()


def _entries(D: torch.Tensor) -> torch.Tensor:
    a, b = torch.triu_indices(D.shape[-1], D.shape[-1]).unbind(0)
    return D[:, a, b]


def _matrices(noise: Regression, dim: int):
    place = torch.zeros(dim, dim, dtype=torch.int64)
    a, b = torch.triu_indices(dim, dim).unbind(0)
    place[a, b] = place[b, a] = torch.arange(len(a))
    return lambda z: noise(z)[..., place.flatten()].unflatten(-1, (dim, dim))


class ReducedLandscape(Landscape):
    """The potential ``U = -D log p_r`` of collective variables (``-log p_r`` where their ``D`` is not a number).

    ``potential`` and ``current_velocity`` take ``z: (..., k)``; ``collective(x)`` makes it of a state. The velocity is
    that of the closed dynamics.

    Attributes:
        full: the system that was sampled.
        system: the closed dynamics of ``z``.
        reduction: both, and the map between them.
    """

    def __init__(
        self,
        reduction: Reduction,
        network: Network,
        lowest: float,
        metadata: Mapping[str, Any],
        uncertainty: Mapping[str, torch.Tensor] = MappingProxyType({}),
        samples: Samples | None = None,
    ) -> None:
        super().__init__(reduction.system, network, lowest, metadata, uncertainty, samples)
        self.reduction, self.full = reduction, reduction.collective.system

    def collective(self, x: torch.Tensor) -> torch.Tensor:
        """``z: (..., k)`` of ``x: (..., d)``."""
        return self.reduction.collective(x)

    def basins(self, samples: Samples) -> Basins:
        """As for any landscape, from samples of the full system."""
        check_samples(self.full, samples)
        return find_basins(self, self.reduced(samples))

    def reduced(self, samples: Samples) -> Samples:
        """Samples of the full system in ``z``."""
        return self.reduction.samples(samples)

    def report(self, samples: Samples | None = None) -> Report:
        """Every number with its error bar.

        The rates ``epr``, ``epr_upper``, ``epr_lower`` and ``epr_score_free`` are of the *full* system: the reduced
        potential is a potential on its states too, so the midpoint is unbiased and the bounds hold, however loosely.
        ``apparent_epr`` is that of the closed dynamics. ``gradient_error`` is of the reduced potential.

        Args:
            samples: of the full system, fresh ones; those it was trained on where it is at hand since.

        Raises:
            InputError: no samples, or of another dimension.
        """
        samples, judged = judging(self.full, samples, self.samples, self.metadata)
        closed_form = self._velocity_and_divergence_of_state if self.reduction.noise is None else None
        found = certify(self.full, judged, self._velocity_of_state, closed_form)
        own = self.reduced(judged)
        closed = certify(self.system, own, self.current_velocity, self.velocity_and_divergence)
        test = stationarity(self.full, samples)
        pushed = self.reduction.collective.pushed(judged)
        notes = [*test.warnings, *self._warnings(self.full, samples, closed)]
        if pushed > PUSHED:
            notes.append(
                f"walls that are no walls of the collective variables push them at {percent(pushed)} of their "
                "drift, which the closed dynamics lacks"
            )
        return Report(
            system=self.full.name,
            epr=found.midpoint,
            epr_upper=found.upper,
            epr_lower=found.lower,
            epr_score_free=score_free_epr(self.full, samples),
            gradient_error=closed.relative,
            stationarity=test,
            warnings=tuple(notes),
            states=judged.walkers * judged.snapshots,
            apparent_epr=self._apparent(judged, own),
            extra=self._method()
            | {"reduced_to": list(self.reduction.collective.names)}
            | find_basins(self, own).to_dict(),
        )

    def _velocity_of_state(self, x: torch.Tensor) -> torch.Tensor:
        """``F_v + D grad (Phi o xi)``, ``(n, d)``: the reduced potential as a candidate for the full one."""
        gradient = self.network.gradient(self.network.places(self.collective(x), 1))
        return self.full.modified_drift(x) + self._pulled(x, gradient)

    def _velocity_and_divergence_of_state(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same with its divergence, for a linear map: ``div(D grad (Phi o xi)) = D_r : grad grad Phi``."""
        gradient, curvature = self.network.gradient_and_curvature(self.system, self.network.places(self.collective(x)))
        drift, div = value_and_divergence(self.full.modified_drift, x)
        return drift + self._pulled(x, gradient), div + curvature

    def _pulled(self, x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """``D grad xi^T`` times a gradient by ``z``, ``(n, d)``."""
        pulled = (self.reduction.collective.slopes(x).mT @ gradient.unsqueeze(-1)).squeeze(-1)
        return self.full.diffusion.apply(x, pulled)

    def _apparent(self, judged: Samples, own: Samples) -> Estimate:
        """``e_r = E[v_r . D_r^{-1} v_r]``, with errors of force and potential entering as products only.

        ``E[F . D^{-1} phi + div phi + phi . D^{-1} (F - G)]`` with ``phi = G + D grad Phi_t`` and ``F`` what each
        sample says: off by ``-E[|G - F_r|^2 + (G - F_r) . D grad(Phi_t - Phi)]`` in the norm of ``D^{-1}``.
        """

        def integrand(x: torch.Tensor) -> torch.Tensor:
            z = self.collective(x)
            phi, div = self.velocity_and_divergence(z)
            scaled = self.system.diffusion.solve(z, phi)
            F, G = self.reduction.drift(x), self.system.modified_drift(z)
            return ((2 * F - G) * scaled).sum(-1) + div

        volume = volume_per_walker(judged, integrand).squeeze(1)
        return Estimate.over_walkers(volume - surface_per_walker(self.system, own, self.current_velocity).squeeze(1))

    def _method(self) -> dict[str, str]:
        found = super()._method() | {"drift_divergence": passes(self.full)}
        if self.reduction.noise is not None:
            found["laplacian"] += f"; of full states, with that of the drift, {passes(self.full)} through the map"
        if self.reduction.collective.matrix is None:
            found["laplacian"] += f"; of the map itself, for its drift, {self.full.dim} nested forward passes"
        return found

    def _extra_tensors(self) -> dict[str, torch.Tensor]:
        parts = {"force": self.reduction.force, "noise": self.reduction.noise}
        mine = {f"{part}.{name}": t for part, model in parts.items() if model for name, t in model.tensors.items()}
        return super()._extra_tensors() | mine

    def _described(self) -> dict[str, Any]:
        D, domain = self.system.diffusion, self.system.domain
        reduce = {
            "spec": self.reduction.collective.spec,
            "diffusion": D.value.tolist() if D.constant else None,
            "low": list(domain.low),
            "high": list(domain.high),
        }
        return {"system": self.full.to_dict(), "reduce": reduce}


def restore(
    system: System, tensors: dict[str, torch.Tensor], saved: Mapping[str, Any], reduce: Any, record: Any
) -> tuple[Reduction, dict[str, torch.Tensor]]:
    """The reduction that a file holds, and the tensors of the network.

    Args:
        reduce: the map, where it was a function.
        record: what the file was trained with, ``Collective.record``.

    Raises:
        InputError: a map that a file cannot hold and that was not given, or another one.
        KeyError: a damaged file.
    """
    spec = saved["spec"] if saved["spec"] is not None else reduce
    if spec is None:
        raise InputError("the collective variables are a function, which a file does not hold", "pass reduce= to load")
    collective = Collective(system, spec)
    if saved["spec"] is None and collective.record != record:
        raise InputError("reduce is another function than the file was trained with", "pass that one to load")
    parts = {"force": {}, "noise": {}}
    for name in [name for name in tensors if name.partition(".")[0] in parts]:
        part, _, own = name.partition(".")
        parts[part][own] = tensors.pop(name)
    force = Regression(parts["force"])
    noise = Regression(parts["noise"]) if parts["noise"] else None
    noise_of = saved["diffusion"] if noise is None else _matrices(noise, collective.dim)
    corners = torch.tensor([saved["low"], saved["high"]], dtype=torch.float64)
    closed = _closed(collective, force, noise_of, corners)
    return Reduction(collective, closed, force, noise), tensors

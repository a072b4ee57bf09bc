"""What a landscape is learnt from, put together: the network at its start and the terms of the problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pyness.errors import TrainingError
from pyness.estimators.score_free import fisher_per_walker
from pyness.landscape import clouds, fast, layers
from pyness.landscape.landscape import Landscape
from pyness.landscape.mixture import BroadMixture, Mixture, fit_mixture
from pyness.landscape.network import Network
from pyness.landscape.newton import SHARP, SMOOTH, Evidence, Problem, convex_start, epr_share
from pyness.landscape.objective import Anchors, Contrast, EntropyProduction, Residual, Walls
from pyness.landscape.options import LOW
from pyness.landscape.quadratic import nearest_quadratic
from pyness.landscape.reduced import Reduction
from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["Material", "assemble"]

EPR_STATES = 20_000
#: In many dimensions there are more weights, and the EPR loss gets this many states for each, up to a limit.
STATES_EACH, MOST_STATES = 30, 80_000
CLOUD = 20_000
TOP = 25.0
ANCHORS = 3_000
#: Of each wall, and of all.
WALL_POINTS, MOST_WALL_POINTS = 400, 6_000
#: Of each layer.
LAYER_POINTS, LAYER_UNITS = 1_000, 20


@dataclass(frozen=True)
class Material:
    """What a landscape is learnt from.

    Attributes:
        system: of the coordinates that the potential depends on.
        training: its samples.
        widened: ``(factor, count, rate, seed)`` to that many states of wider noise, ``(n, d)``, and ``F_v`` there,
            None where the system knows it.
        drift: ``F_v`` at each training state in turn, ``(n, d)``, None where the system knows it.
    """

    system: System
    training: Samples
    widened: Callable[[float, int, float, int], tuple[torch.Tensor, torch.Tensor | None]]
    drift: torch.Tensor | None = None

    @classmethod
    def of(cls, system: System, training: Samples) -> Material:
        """What the system itself gives."""
        return cls(system, training, partial(_widened, system, training))

    def reduced(self, reduction: Reduction) -> Material:
        """The same in collective variables: drifts are those of the full states."""

        def widened(factor: float, count: int, rate: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
            x, _ = self.widened(factor, count, rate, seed)
            return reduction.collective(x), reduction.drift(x)

        x = self.training.states.reshape(-1, self.system.dim).double()
        return Material(reduction.system, reduction.samples(self.training), widened, reduction.drift(x))


def _widened(system: System, training: Samples, factor: float, count: int, rate: float, seed: int):
    return clouds.widened(system, training, factor, count, rate, seed).to(training.states.device), None


def assemble(
    material: Material, seed: int, options: dict[str, Any], start: Landscape | None = None
) -> tuple[Network, Problem]:
    """The network at its start and the problem, both from the seed."""
    generator = torch.Generator().manual_seed(seed)
    system, training = material.system, material.training
    states = training.states.reshape(-1, system.dim).double()
    order = torch.randperm(len(states), generator=generator)
    states, drift = states[order], None if material.drift is None else material.drift[order]
    walker = order // training.snapshots
    rate = fisher_per_walker(system, training).mean().item()
    if not rate > 0:
        raise TrainingError(
            f"E|grad log p|^2 comes out as {rate:.3g} from the samples", "they are not of a steady state of this system"
        )
    if options["method"] == "epr":
        return _epr_alone(system, states, drift, walker, rate, options["units"], generator, start)
    few = options["points"] * 2 // 5
    many = options["points"] - few
    mixture, base, quick = None, None, states.new_zeros(0, 3)
    if system.dim > LOW and not system.domain.periodic:
        mixture = base = fit_mixture(states, generator)
        quick = fast.find(system, states)
        axes = quick[:, 0].long()
        slow = [axis for axis in range(system.dim) if axis not in axes.tolist()]
        if len(quick) and slow:
            base = fit_mixture(states[:, slow], generator).extended(axes, states)
    widening = options["widening"]
    wider = 2 * widening if base is None else 2 * widening - 1
    cloud, cloud_drift = material.widened(widening, CLOUD, rate, seed)
    edge, _ = material.widened(wider, max(CLOUD, 3 * many), rate, seed + 1)
    own = states[torch.randperm(len(states), generator=generator)[:few]]
    hull = torch.cat([cloud[:many], edge[: many // 2], own])
    if start is not None:
        rough = network = _scaled(system, start, states)
    elif base is not None:
        network = Network.draw(system, hull, options["units"], generator, base, coordinates=quick)
        own_drift = None if drift is None else drift[:EPR_STATES]
        rough = network = _best_start(network, mixture, system, states[:EPR_STATES], own_drift, rate)
    else:
        network = Network.draw(system, hull, options["units"], generator, layers=layers.find(system, edge))
        one_each = torch.arange(len(cloud))
        wide = _evidence(network, system, cloud, cloud_drift, one_each, len(cloud), rate, widening, generator)
        rough = convex_start(network, wide, SHARP)
        network = convex_start(rough, wide, SMOOTH)
    height = rough.value(network.places(edge, 0))
    base_height = torch.quantile(rough.value(network.places(own, 0)), 0.01).item()
    # of many dimensions even the samples are some d/2 above the bottom
    top = TOP if system.dim <= LOW else TOP + system.dim
    even = clouds.flattened(height, base_height, wider, top, many, generator)
    layered = layers.within(system, network.tensors["layers"], edge[even], LAYER_POINTS, generator)
    if len(layered) and start is None:
        network = network.with_layer_units(layered, LAYER_UNITS * len(network.tensors["layers"]), generator)
    points = torch.cat([edge[even], layered, own])
    each = min(WALL_POINTS, MOST_WALL_POINTS // (2 * system.dim + len(system.domain.walls)))
    wall_points, normals = clouds.wall_points(system, points, each, generator)
    beyond = edge[height > base_height + clouds.BEYOND * top][:ANCHORS]
    far = clouds.anchors(system, edge, states.std(0).clamp_min(1e-12), ANCHORS, generator)
    if base is not None:
        # in many dimensions every state is far from all others, so the base says what is out of reach
        far = far[rough.value(network.places(far, 0)) > base_height + clouds.BEYOND * top]
    # states that the start puts well beyond reach keep the residual off branches that come in from there
    outside = torch.cat([far, beyond])
    evidence = None
    if options["method"] == "enhanced":
        evidence = _evidence(network, system, states, drift, walker, options["contrast"], rate, 1.0, generator, mixture)
    problem = Problem(
        evidence=evidence,
        residual=Residual(network, system, points, rate),
        walls=Walls(network, system, wall_points, normals, rate) if len(wall_points) else None,
        anchors=Anchors(network, outside, own[:500]) if len(outside) else None,
        rate=rate,
        top=top,
        lowest=slice(len(points) - len(own), None),
    )
    return network, problem


def _best_start(
    network: Network,
    mixture: Mixture,
    system: System,
    states: torch.Tensor,
    drift: torch.Tensor | None,
    rate: float,
) -> Network:
    """``network`` as drawn, or with ``mixture`` alone, or the nearest quadratic: the one of least EPR loss."""
    drift = system.modified_drift(states) if drift is None else drift
    starts = network, network.with_mixture(mixture), nearest_quadratic(network, system, states, drift)
    # functions given beforehand differ between them, so each looks at the states anew
    return min(starts, key=lambda start: EntropyProduction(start, system, states, rate, drift).loss(start))


def _scaled(system: System, start: Landscape, states: torch.Tensor) -> Network:
    """The network of ``start`` with its potential in units of this system's noise, the mean over ``states: (n, d)``."""
    ratio = _noise(start.system, states) / _noise(system, states)
    tensors = {name: tensor.to(states) for name, tensor in start.network.tensors.items()}
    tensors |= {name: ratio * tensors[name] for name in ("output", "quadratic")}
    if start.network.base is not None:
        # the functions of fast coordinates know the noise
        tensors["known"] = torch.cat([ratio * tensors["known"][:1], tensors["known"][1:]])
    return Network(tensors, system)


def _noise(system: System, states: torch.Tensor) -> torch.Tensor:
    """The mean of ``tr D / d`` over ``states: (n, d)``."""
    D = system.diffusion(states)
    return (torch.diagonal(D, dim1=-2, dim2=-1) if system.diffusion.kind == "matrix" else D).mean()


def _epr_alone(
    system: System,
    states: torch.Tensor,
    drift: torch.Tensor | None,
    walker: torch.Tensor,
    rate: float,
    units: int,
    generator: torch.Generator,
    start: Landscape | None,
) -> tuple[Network, Problem]:
    """The baseline that sees nothing but the samples, and of those nothing but the drift."""
    few = states[:EPR_STATES]
    network = Network.draw(system, few, units, generator) if start is None else _scaled(system, start, states)
    own = None if drift is None else drift[:EPR_STATES]
    evidence = Evidence(EntropyProduction(network, system, few, rate, own), 1.0, None, walker)
    if start is None:
        network = convex_start(network, evidence, SMOOTH)
    return network, Problem(evidence, None, None, None, rate, TOP, slice(None))


def _evidence(
    network: Network,
    system: System,
    states: torch.Tensor,
    drift: torch.Tensor | None,
    walker: torch.Tensor,
    contrast: int,
    rate: float,
    widening: float,
    generator: torch.Generator,
    mixture: Mixture | None = None,
) -> Evidence:
    """What ``states: (n, d)`` of each ``walker``, of ``widening`` times the noise, say; with their ``F_v`` if given.

    They are held against ``mixture``, in many dimensions.
    """
    parameters = len(network.parameters)
    if mixture is None:
        reference, few = clouds.Reference(system, states, generator), states[:EPR_STATES]
    else:
        count = max(EPR_STATES, min(STATES_EACH * parameters, MOST_STATES))
        reference, few = BroadMixture(mixture, system.domain), states[:count]
    drawn = reference.draw(contrast, generator)
    epr = EntropyProduction(network, system, few, rate, None if drift is None else drift[: len(few)])
    # E|F_v|^2 in the norm of D^{-1}
    squared = (epr.drift * system.diffusion.solve(few, epr.drift)).sum(-1).mean().item()
    return Evidence(
        epr,
        epr_share(squared, rate, parameters, len(few), system.dim),
        Contrast(network, states[:contrast], drawn, reference.log_density, widening),
        walker,
    )

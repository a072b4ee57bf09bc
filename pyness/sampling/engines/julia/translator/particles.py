"""``translate_particles``: the forces of a particle system as Julia functions of one pair and of one particle.

The neighbours are found in Julia (julia/src/neighbours.jl): the source is as long for two particles as for a million.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pyness.errors import TranslationError
from pyness.sampling.engines.julia.translator.expressions import LARGEST, Graph, TooLarge
from pyness.sampling.engines.julia.translator.source import function_source, parameter_slots
from pyness.sampling.engines.julia.translator.translation import trace_twice
from pyness.systems import ParticleSystem

__all__ = ["ParticleTranslation", "translate_particles"]

_HEAD = "using PyNESS: particle_drift!, particle_noise!"
_TAIL = """drift!(du, u, p, t) = particle_drift!(du, u, p, pair, external)
noise!(du, u, p, t) = particle_noise!(du, p)
"""


@dataclass(frozen=True)
class ParticleTranslation:
    """Translated forces.

    Attributes:
        source: Julia source of ``drift!`` and ``noise!``, whose parameters are a ``PyNESS.Particles``.
        numbers: the parameters of the forces, float64.
    """

    source: str
    numbers: np.ndarray


def translate_particles(system: ParticleSystem) -> ParticleTranslation:
    """The pair force as a function of the distance, one for each pair of labels, and the force on each particle.

    Raises:
        TranslationError: as ``translate``.
    """
    graph = Graph()
    try:
        pairs = _pair_forces(system, graph)
        external = None
        if system.external is not None:
            points = system.box.uniform(2, torch.Generator().manual_seed(0), dtype=torch.float64)
            external = trace_twice(system.external, points, graph, "external")
        fields = {**pairs, **({} if external is None else {"force": external})}
        nodes = [int(i) for outputs in fields.values() for i in outputs.flat]
        if len(graph.live(nodes)) > LARGEST:
            raise TooLarge
    except TooLarge:
        raise TranslationError(
            f"the forces of system {system.name!r} make more than {LARGEST} scalar statements", "use engine='torch'"
        ) from None
    slots = parameter_slots(graph, nodes)
    numbers = np.array([graph.nodes[i].value for i in slots], dtype=np.float64)
    written = [function_source(name, graph, outputs, slots, static=True) for name, outputs in fields.items()]
    outer = "nothing" if external is None else "(x, p) -> force(x, p, 0.0)"
    parts = [_HEAD, *written, f"const pair = {_pair(list(pairs))}", f"const external = {outer}", _TAIL]
    return ParticleTranslation("\n".join(parts), numbers)


def _pair_forces(system: ParticleSystem, graph: Graph) -> dict[str, np.ndarray]:
    """Names and nodes of ``f(r)``, for each ordered pair of labels."""
    if not system.interacts:
        return {}
    reach = system.cutoff or 1.0
    points = torch.tensor([[0.45 * reach], [0.85 * reach]], dtype=torch.float64)
    labels = [0] if system.species is None else sorted({int(label) for label in system.species})
    fields = {}
    for a in labels:
        for b in labels:
            name = f"pair_{a}_{b}"
            fields[name] = trace_twice(_between(system, a, b), points, graph, name)
    return fields


def _between(system: ParticleSystem, a: int, b: int) -> Callable[[torch.Tensor], torch.Tensor]:
    if system.species is None:
        return system.pair_force
    return lambda r: system.pair_force(r, torch.tensor([a]), torch.tensor([b]))


def _pair(names: list[str]) -> str:
    """``(r, a, b, p)``, the force of the functions ``names`` by label."""
    if not names:
        return "nothing"
    if len(names) == 1:
        return f"(r, a, b, p) -> {names[0]}(SVector(r), p, 0.0)[1]"
    branches = []
    for name in names[:-1]:
        a, b = name.split("_")[1:]
        branches.append(f"a == {a} && b == {b} ? {name}(SVector(r), p, 0.0)[1] : ")
    return f"(r, a, b, p) -> {''.join(branches)}{names[-1]}(SVector(r), p, 0.0)[1]"

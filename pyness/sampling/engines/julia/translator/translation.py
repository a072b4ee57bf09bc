"""``translate``: the drift and the noise of a system as one graph, evaluable in numpy and written as Julia."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from pyness.errors import TranslationError
from pyness.sampling.engines.julia.translator import elementwise, linear, shapes  # noqa: F401  (they enter rules)
from pyness.sampling.engines.julia.translator.evaluate import evaluate
from pyness.sampling.engines.julia.translator.expressions import LARGEST, Graph, TooLarge
from pyness.sampling.engines.julia.translator.source import function_source, parameter_slots
from pyness.sampling.engines.julia.translator.trace import trace
from pyness.systems import System

__all__ = ["Translation", "translate"]


@dataclass(frozen=True)
class Translation:
    """A translated system.

    Attributes:
        dim: the dimension ``d``.
        graph: the intermediate form.
        drift: ``(d,)`` nodes of ``F``.
        noise: ``(d,)`` nodes of the diagonal or ``(d, d)`` nodes of the matrix ``sqrt(2 D)``.
        additive: whether the noise is independent of the state.
    """

    dim: int
    graph: Graph
    drift: np.ndarray
    noise: np.ndarray
    additive: bool

    @cached_property
    def _slots(self) -> dict[int, int]:
        return parameter_slots(self.graph, [*self.drift.flat, *self.noise.flat])

    @cached_property
    def parameters(self) -> np.ndarray:
        """The numbers that travel as data, float64."""
        return np.array([self.graph.nodes[i].value for i in self._slots], dtype=np.float64)

    @cached_property
    def source(self) -> str:
        """Julia source of ``drift!``, ``drift``, ``noise!`` and ``noise``; the same for all values of parameters."""
        return "\n".join(
            function_source(name, self.graph, nodes, self._slots)
            for name, nodes in (("drift", self.drift), ("noise", self.noise))
        )

    def evaluate_drift(self, x: np.ndarray) -> np.ndarray:
        """``F(x)``, ``(..., d)``, by numpy."""
        return evaluate(self.graph, list(self.drift), x)

    def evaluate_noise(self, x: np.ndarray) -> np.ndarray:
        """``sqrt(2 D(x))``, ``(..., d)`` or ``(..., d, d)``, by numpy."""
        x = np.asarray(x, dtype=np.float64)
        return evaluate(self.graph, list(self.noise.flat), x).reshape(*x.shape[:-1], *self.noise.shape)


def translate(system: System) -> Translation:
    """The drift and the noise factor ``sqrt(2 D)`` of a system, traced.

    Raises:
        TranslationError: an operation without a translation or a branch on the state (with the user's line), values
            that leave torch on the way, or more statements than Julia compiles in reasonable time.
    """
    generator = torch.Generator().manual_seed(0)
    points = system.domain.uniform(2, generator, dtype=torch.float64)
    graph = Graph()
    try:
        drift = _trace_twice(system.drift, points, graph, "drift")
        noise = _trace_twice(system.diffusion.noise_factor, points, graph, "diffusion")
        if len(graph.live([*drift.flat, *noise.flat])) > LARGEST:
            raise TooLarge
    except TooLarge:
        raise TranslationError(
            f"system {system.name!r} in dimension {system.dim} makes more than {LARGEST} scalar statements",
            "use engine='torch' for it, or give System(julia=...) with loops",
        ) from None
    if noise.ndim == 0:
        noise = np.full(system.dim, noise)
    return Translation(system.dim, graph, drift, noise, system.diffusion.additive)


def _trace_twice(function: Callable, points: torch.Tensor, graph: Graph, label: str) -> np.ndarray:
    """Traced at two points: what is the same at both does not depend on where it was traced."""
    nodes = trace(function, points[0], graph, label)
    size = len(graph.nodes)
    again = trace(function, points[1], graph, label)
    if len(graph.nodes) != size or not np.array_equal(nodes, again):
        raise TranslationError(
            f"{label} is another function at another point: it takes numbers out of torch (numpy, .tolist()) or "
            "changes what it keeps",
            "use torch operations from x to the result, or engine='torch'",
        )
    return nodes

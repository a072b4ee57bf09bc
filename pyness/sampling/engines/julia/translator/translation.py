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


#: Systems of more coordinates are not given functions of static arrays, which would take long to compile.
LARGEST_STATIC = 20


@dataclass(frozen=True)
class Translation:
    """A translated system.

    Attributes:
        dim: the dimension ``d``.
        graph: the intermediate form.
        drift: ``(d,)`` nodes of ``F``; None where it was not asked for.
        noise: ``(d,)`` nodes of the diagonal or ``(d, d)`` nodes of the matrix ``sqrt(2 D)``.
        additive: whether the noise is independent of the state.
        rotation: ``(d, d)`` orthogonal ``Q`` where a constant matrix ``2 D = Q diag(noise^2) Q^T`` was made diagonal:
            ``noise`` is then meant in the coordinates ``Q^T x``.
    """

    dim: int
    graph: Graph
    drift: np.ndarray | None
    noise: np.ndarray
    additive: bool
    rotation: np.ndarray | None = None

    @cached_property
    def _fields(self) -> dict[str, np.ndarray]:
        return {"noise": self.noise} if self.drift is None else {"drift": self.drift, "noise": self.noise}

    @cached_property
    def _slots(self) -> dict[int, int]:
        return parameter_slots(self.graph, [i for nodes in self._fields.values() for i in nodes.flat])

    @cached_property
    def parameters(self) -> np.ndarray:
        """The numbers that travel as data, float64."""
        return np.array([self.graph.nodes[i].value for i in self._slots], dtype=np.float64)

    @cached_property
    def source(self) -> str:
        """Julia source of ``drift!``, ``drift``, ``noise!`` and ``noise``; the same for all values of parameters."""
        static = self.dim <= LARGEST_STATIC
        return "\n".join(
            function_source(name, self.graph, nodes, self._slots, static=static) for name, nodes in self._fields.items()
        )

    def evaluate_drift(self, x: np.ndarray) -> np.ndarray:
        """``F(x)``, ``(..., d)``, by numpy."""
        return evaluate(self.graph, list(self.drift), x)

    def evaluate_noise(self, x: np.ndarray) -> np.ndarray:
        """``sqrt(2 D(x))``, ``(..., d)`` or ``(..., d, d)``, by numpy."""
        x = np.asarray(x, dtype=np.float64)
        return evaluate(self.graph, list(self.noise.flat), x).reshape(*x.shape[:-1], *self.noise.shape)


def translate(system: System, *, drift: bool = True) -> Translation:
    """The drift and the noise factor ``sqrt(2 D)`` of a system, traced.

    Args:
        drift: whether the drift is wanted (its author may have given it in Julia).

    Raises:
        TranslationError: an operation without a translation or a branch on the state (with the user's line), values
            that leave torch on the way, or more statements than Julia compiles in reasonable time.
    """
    generator = torch.Generator().manual_seed(0)
    points = system.domain.uniform(2, generator, dtype=torch.float64)
    graph = Graph()
    try:
        force = trace_twice(system.drift, points, graph, "drift") if drift else None
        noise = trace_twice(system.diffusion.noise_factor, points, graph, "diffusion")
        if len(graph.live([*(force.flat if drift else ()), *noise.flat])) > LARGEST:
            raise TooLarge
    except TooLarge:
        raise TranslationError(
            f"system {system.name!r} in dimension {system.dim} makes more than {LARGEST} scalar statements",
            "use engine='torch' for it, or give System(julia=...) with loops",
        ) from None
    if noise.ndim == 0:
        noise = np.full(system.dim, noise)
    if noise.ndim == 2 and all(graph.is_whole(int(i), 0) for i in noise[~np.eye(system.dim, dtype=bool)]):
        noise = np.diagonal(noise)
    rotation = None
    if noise.ndim == 2 and system.diffusion.additive:
        squares, axes = torch.linalg.eigh(2 * system.diffusion.value)
        amplitudes = squares.clamp_min(0).sqrt().tolist()
        noise = np.array([graph.parameter(a, ("axis", i)) for i, a in enumerate(amplitudes)], dtype=np.int64)
        rotation = axes.numpy()
    return Translation(system.dim, graph, force, noise, system.diffusion.additive, rotation)


def trace_twice(function: Callable, points: torch.Tensor, graph: Graph, label: str) -> np.ndarray:
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

"""The intermediate form written as Julia.

Each function is a straight line of scalar statements, generic in the element type, without allocation or branch:
an in-place method for vectors and an out-of-place one that returns a static array, as solvers and GPU kernels want.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pyness.sampling.engines.julia.translator.expressions import OPERATIONS, Graph

__all__ = ["function_source", "parameter_slots"]

# Julia promotes a literal next to a floating number here; elsewhere it must already have the state's type
_PROMOTING = frozenset({"add", "sub", "mul", "div"})


def parameter_slots(graph: Graph, outputs: Sequence[int]) -> dict[int, int]:
    """The place (from zero) in the parameter vector of each parameter the outputs use."""
    parameters = [i for i in graph.live(outputs) if graph.nodes[i].op == "parameter"]
    return {index: slot for slot, index in enumerate(parameters)}


def function_source(name: str, graph: Graph, outputs: np.ndarray, slots: Mapping[int, int], *, static: bool) -> str:
    """Julia source of ``name!(du, u, p, t)``, and of ``name(u, p, t)`` where ``static`` asks for it.

    Args:
        name: what the functions are called.
        outputs: ``(m,)`` or ``(m, n)`` nodes: what ``du`` receives.
        slots: place of each parameter in ``p``, from ``parameter_slots``.
    """
    writer = _Writer(graph, slots)
    body = writer.statements([int(i) for i in outputs.flat])
    targets = [
        f"du[{', '.join(str(k + 1) for k in place)}] = {writer.value(int(outputs[place]))}"
        for place in np.ndindex(outputs.shape)
    ]
    lines = [f"function {name}!(du, u, p, t)", *_block(body + targets), "    return nothing", "end", ""]
    if static:
        # Julia's arrays are column-major
        values = ", ".join(writer.value(int(i)) for i in outputs.T.flat)
        kind = f"{'SVector' if outputs.ndim == 1 else 'SMatrix'}{{{', '.join(map(str, outputs.shape))}}}"
        lines += [f"function {name}(u, p, t)", *_block([*body, f"return {kind}({values})"]), "end", ""]
    return "\n".join(lines)


def _block(lines: Sequence[str]) -> list[str]:
    return ["    T = eltype(u)", "    @inbounds begin", *(f"        {line}" for line in lines), "    end"]


class _Writer:
    """Names the values of a graph and writes the statements that make them."""

    def __init__(self, graph: Graph, slots: Mapping[int, int]) -> None:
        self.graph = graph
        self.slots = slots
        self._names: dict[int, str] = {}

    def statements(self, outputs: Sequence[int]) -> list[str]:
        lines = []
        for index in self.graph.live(outputs):
            node = self.graph.nodes[index]
            if node.constant:
                continue
            if node.op == "input":
                self._names[index] = f"u{node.value + 1}"
                lines.append(f"u{node.value + 1} = u[{node.value + 1}]")
                continue
            name = f"v{len(lines) + 1}"
            promoting = node.op in _PROMOTING and not all(self.graph.nodes[a].op == "whole" for a in node.args)
            args = [self.value(a, literal=promoting) for a in node.args]
            lines.append(f"{name} = {OPERATIONS[node.op].julia.format(*args)}")
            self._names[index] = name
        return lines

    def value(self, index: int, literal: bool = False) -> str:
        node = self.graph.nodes[index]
        if node.op == "parameter":
            return f"p[{self.slots[index] + 1}]"
        if node.op != "whole":
            return self._names[index]
        if node.boolean:
            return "true" if node.value else "false"
        if literal:
            return f"({node.value})" if node.value < 0 else str(node.value)
        return {0: "zero(T)", 1: "one(T)"}.get(node.value, f"T({node.value})")

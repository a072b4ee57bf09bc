"""The intermediate form evaluated by numpy, at many points at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pyness.sampling.engines.julia.translator.expressions import OPERATIONS, Graph

__all__ = ["evaluate"]


def evaluate(graph: Graph, outputs: Sequence[int], x: np.ndarray) -> np.ndarray:
    """``(..., len(outputs))`` values at the points ``x: (..., d)``, in float64."""
    x = np.asarray(x, dtype=np.float64)
    values: dict[int, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for index in graph.live(outputs):
            node = graph.nodes[index]
            if node.op == "input":
                values[index] = x[..., node.value]
            elif node.constant:
                values[index] = np.full(x.shape[:-1], node.value, dtype=bool if node.boolean else np.float64)
            else:
                values[index] = OPERATIONS[node.op].numpy(*(values[a] for a in node.args))
    if not len(outputs):
        return np.empty((*x.shape[:-1], 0))
    return np.stack([values[i].astype(np.float64) for i in outputs], axis=-1)

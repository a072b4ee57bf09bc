"""Rules for ATen operations of linear algebra; zeros of constant matrices vanish as the sums are built."""

from __future__ import annotations

import numpy as np

from pyness.sampling.engines.julia.translator.reductions import reduce_over
from pyness.sampling.engines.julia.translator.trace import Tracer, Untranslatable, rule

__all__: list[str] = []


def _product(t: Tracer, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a @ b`` for matrices, ``a`` and ``b`` alike with leading batch dimensions."""
    columns = b.swapaxes(-2, -1)
    out = np.empty((*a.shape[:-1], b.shape[-1]), dtype=np.int64)
    for place in np.ndindex(out.shape):
        *batch, i, j = place
        row, column = a[(*batch, i)], columns[(*batch, j)]
        out[place] = t.graph.sum([t.graph.apply("mul", int(u), int(v)) for u, v in zip(row, column, strict=True)])
    return out


@rule("mm", "bmm", "matmul")
def _mm(t: Tracer, a, b):
    return _product(t, a, b)


@rule("mv")
def _mv(t: Tracer, a, v):
    return _product(t, a, v[:, None])[:, 0]


@rule("dot", "vdot")
def _dot(t: Tracer, a, b):
    return _product(t, a[None, :], b[:, None])[0, 0]


@rule("addmm", "addmv", "baddbmm")
def _addmm(t: Tracer, x, a, b, beta=1, alpha=1):
    product = _mv(t, a, b) if b.ndim == 1 else _product(t, a, b)
    return t.map("add", t.map("mul", x, beta), t.map("mul", product, alpha))


@rule("addr")
def _addr(t: Tracer, x, a, b, beta=1, alpha=1):
    return t.map("add", t.map("mul", x, beta), t.map("mul", t.map("mul", a[:, None], b[None, :]), alpha))


@rule("trace")
def _trace(t: Tracer, x):
    return np.array(t.graph.sum([int(i) for i in np.diagonal(x)]))


@rule("linalg_cross")
def _cross(t: Tracer, a, b, dim=-1):
    a, b = (np.moveaxis(v, dim, 0) for v in np.broadcast_arrays(a, b))
    parts = [t.map("sub", t.map("mul", a[i], b[j]), t.map("mul", a[j], b[i])) for i, j in ((1, 2), (2, 0), (0, 1))]
    return np.moveaxis(np.stack(parts), 0, dim)


@rule("_cdist_forward", "_euclidean_dist")
def _cdist(t: Tracer, a, b, p=2.0, compute_mode=None):
    if p != 2:
        raise Untranslatable(f"p={p}")
    apart = t.map("sub", a[..., :, None, :], b[..., None, :, :])
    return t.map("sqrt", reduce_over(t, t.map("mul", apart, apart), -1, False, t.graph.sum))


@rule("linalg_cholesky_ex")
def _cholesky(t: Tracer, x, upper=False, check_errors=False):
    if x.ndim != 2:
        raise Untranslatable("a batch of matrices")
    n = len(x)
    factor = np.full((n, n), t.graph.whole(0))
    for j in range(n):
        for i in range(j, n):
            known = t.graph.sum([t.graph.apply("mul", int(factor[i, k]), int(factor[j, k])) for k in range(j)])
            left = t.graph.apply("sub", int(x[i, j]), known)
            factor[i, j] = t.graph.apply("sqrt", left) if i == j else t.graph.apply("div", left, int(factor[j, j]))
    return (factor.T if upper else factor), np.array(t.graph.whole(0))


@rule("_linalg_check_errors")
def _check_errors(t: Tracer, info, api_name, is_matrix):
    return []

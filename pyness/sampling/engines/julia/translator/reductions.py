"""Rules for ATen operations that combine elements: sums, products, extremes, norms, softmax."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pyness.sampling.engines.julia.translator.trace import Tracer, Untranslatable, axes_of, rule

__all__ = ["reduce_over"]


def reduce_over(t: Tracer, x: np.ndarray, dim, keepdim: bool, combine: Callable[[list[int]], int]) -> np.ndarray:
    """``combine`` of the elements along ``dim`` (all dimensions for None)."""
    axes = axes_of(dim, x.ndim)
    kept = [a for a in range(x.ndim) if a not in axes]
    rows = x.transpose(*kept, *axes).reshape(*[x.shape[a] for a in kept], -1)
    out = np.empty(rows.shape[:-1], dtype=np.int64)
    for place in np.ndindex(out.shape):
        out[place] = combine([int(i) for i in rows[place]])
    return np.expand_dims(out, axes) if keepdim else out


def _count(x: np.ndarray, dim) -> int:
    return math.prod(x.shape[a] for a in axes_of(dim, x.ndim))


@rule("sum")
def _sum(t: Tracer, x, dim=None, keepdim=False, dtype=None):
    return reduce_over(t, x, dim, keepdim, t.graph.sum)


@rule("mean")
def _mean(t: Tracer, x, dim=None, keepdim=False, dtype=None):
    return t.map("div", _sum(t, x, dim, keepdim), _count(x, dim))


@rule("var")
def _var(t: Tracer, x, dim=None, correction=None, keepdim=False, unbiased=None):
    if isinstance(dim, bool) or unbiased is not None:
        raise Untranslatable("unbiased= (use correction=)")
    spread = t.map("sub", x, _mean(t, x, dim, True))
    total = _sum(t, t.map("mul", spread, spread), dim, keepdim)
    return t.map("div", total, max(_count(x, dim) - (1 if correction is None else correction), 0))


@rule("std")
def _std(t: Tracer, x, dim=None, correction=None, keepdim=False, unbiased=None):
    return t.map("sqrt", _var(t, x, dim, correction, keepdim, unbiased))


@rule("prod")
def _prod(t: Tracer, x, dim=None, keepdim=False, dtype=None):
    return reduce_over(t, x, dim, keepdim, lambda row: t.graph.fold("mul", [t.graph.whole(1), *row]))


@rule("amax")
def _amax(t: Tracer, x, dim=(), keepdim=False):
    return reduce_over(t, x, dim, keepdim, lambda row: t.graph.fold("max", row))


@rule("amin")
def _amin(t: Tracer, x, dim=(), keepdim=False):
    return reduce_over(t, x, dim, keepdim, lambda row: t.graph.fold("min", row))


@rule("max")
def _max(t: Tracer, x, dim=None, keepdim=False):
    # with a dimension torch also returns where the extreme lies, which no rule can use: None stands for it
    if isinstance(dim, np.ndarray):
        return t.map("max", x, dim)
    return _amax(t, x) if dim is None else (_amax(t, x, dim, keepdim), None)


@rule("min")
def _min(t: Tracer, x, dim=None, keepdim=False):
    if isinstance(dim, np.ndarray):
        return t.map("min", x, dim)
    return _amin(t, x) if dim is None else (_amin(t, x, dim, keepdim), None)


@rule("aminmax")
def _aminmax(t: Tracer, x, dim=None, keepdim=False):
    return _amin(t, x, dim, keepdim), _amax(t, x, dim, keepdim)


@rule("all")
def _all(t: Tracer, x, dim=None, keepdim=False):
    return reduce_over(t, x, dim, keepdim, lambda row: t.graph.fold("and", [t.graph.whole(True), *row]))


@rule("any")
def _any(t: Tracer, x, dim=None, keepdim=False):
    return reduce_over(t, x, dim, keepdim, lambda row: t.graph.fold("or", [t.graph.whole(False), *row]))


@rule("cumsum")
def _cumsum(t: Tracer, x, dim, dtype=None):
    return _cumulate(t, x, dim, "add")


@rule("cumprod")
def _cumprod(t: Tracer, x, dim, dtype=None):
    return _cumulate(t, x, dim, "mul")


def _cumulate(t: Tracer, x, dim, op):
    if x.ndim == 0:
        return x.copy()
    out = np.moveaxis(x, dim, 0).copy()
    for i in range(1, len(out)):
        out[i] = t.map(op, out[i - 1], out[i])
    return np.moveaxis(out, 0, dim)


@rule("linalg_vector_norm", "norm")
def _norm(t: Tracer, x, order=2, dim=None, keepdim=False, dtype=None):
    order = 2 if order is None else order
    if order == 0:
        return _sum(t, t.map("ne", x, 0), dim, keepdim)
    size = t.map("abs", x)
    if order == math.inf:
        return _amax(t, size, dim, keepdim)
    if order == -math.inf:
        return _amin(t, size, dim, keepdim)
    if order == 1:
        return _sum(t, size, dim, keepdim)
    if order == 2:
        return t.map("sqrt", _sum(t, t.map("mul", x, x), dim, keepdim))
    return t.map("pow", _sum(t, t.map("pow", size, order), dim, keepdim), 1 / order)


@rule("logsumexp")
def _logsumexp(t: Tracer, x, dim, keepdim=False):
    top = _amax(t, x, dim, True)
    total = _sum(t, t.map("exp", t.map("sub", x, top)), dim, True)
    out = t.map("add", top, t.map("log", total))
    return out if keepdim else np.squeeze(out, axes_of(dim, x.ndim))


@rule("_softmax", "softmax")
def _softmax(t: Tracer, x, dim, half_to_float=False):
    weight = t.map("exp", t.map("sub", x, _amax(t, x, dim, True)))
    return t.map("div", weight, _sum(t, weight, dim, True))


@rule("_log_softmax", "log_softmax")
def _log_softmax(t: Tracer, x, dim, half_to_float=False):
    return t.map("sub", x, _logsumexp(t, x, dim, True))

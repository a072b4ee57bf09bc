"""Rules for ATen operations that move elements without computing."""

from __future__ import annotations

import math

import numpy as np

from pyness.sampling.engines.julia.translator.trace import Tracer, Untranslatable, axes_of, rule

__all__: list[str] = []


@rule("view", "_unsafe_view", "reshape", "_reshape_alias", "_reshape_copy", "view_copy")
def _view(t: Tracer, x, size, *_strides):
    if not isinstance(size, (list, tuple)):
        raise Untranslatable("another dtype")
    return x.reshape(tuple(size))


@rule("expand", "expand_copy")
def _expand(t: Tracer, x, size, implicit=False):
    lead = len(size) - x.ndim
    shape = [x.shape[i - lead] if n == -1 else n for i, n in enumerate(size)]
    return np.broadcast_to(x, shape)


@rule("permute", "permute_copy")
def _permute(t: Tracer, x, dims):
    return x.transpose(axes_of(dims, x.ndim))


@rule("transpose", "swapaxes", "transpose_copy")
def _transpose(t: Tracer, x, dim0, dim1):
    return x.swapaxes(dim0, dim1) if x.ndim else x


@rule("t", "numpy_T", "t_copy")
def _t(t: Tracer, x):
    return x.T


@rule("mT", "adjoint")
def _mt(t: Tracer, x):
    return x.swapaxes(-2, -1)


@rule("unsqueeze", "unsqueeze_copy")
def _unsqueeze(t: Tracer, x, dim):
    return np.expand_dims(x, dim)


@rule("squeeze", "squeeze_copy")
def _squeeze(t: Tracer, x, dim=None):
    axes = tuple(a for a in axes_of(dim, x.ndim) if x.shape[a] == 1) if x.ndim else ()
    return np.squeeze(x, axes)


@rule("select", "select_copy")
def _select(t: Tracer, x, dim, index):
    return x[_along(x, dim, int(index))]


@rule("slice", "slice_copy")
def _slice(t: Tracer, x, dim=0, start=None, end=None, step=1):
    return x[_along(x, dim, slice(start, end, step))]


def _along(x: np.ndarray, dim: int, index) -> tuple:
    return (slice(None),) * (dim % x.ndim) + (index, Ellipsis)


@rule("select_scatter")
def _select_scatter(t: Tracer, x, source, dim, index):
    out = x.copy()
    out[_along(x, dim, int(index))] = source
    return out


@rule("slice_scatter")
def _slice_scatter(t: Tracer, x, source, dim=0, start=None, end=None, step=1):
    out = x.copy()
    out[_along(x, dim, slice(start, end, step))] = source
    return out


@rule("diagonal", "diagonal_copy")
def _diagonal(t: Tracer, x, offset=0, dim1=0, dim2=1):
    # through as_strided, because numpy's own diagonal cannot be written into
    dim1, dim2 = dim1 % x.ndim, dim2 % x.ndim
    moved = np.moveaxis(x, (dim1, dim2), (-2, -1))
    moved = moved[..., max(-offset, 0) :, max(offset, 0) :]
    shape = (*moved.shape[:-2], min(moved.shape[-2:]))
    strides = (*moved.strides[:-2], moved.strides[-2] + moved.strides[-1])
    return np.lib.stride_tricks.as_strided(moved, shape, strides, writeable=moved.flags.writeable)


@rule("diag_embed")
def _diag_embed(t: Tracer, x, offset=0, dim1=-2, dim2=-1):
    size = x.shape[-1] + abs(offset)
    out = np.full((*x.shape[:-1], size, size), t.graph.whole(0))
    rows = np.arange(x.shape[-1]) + max(-offset, 0)
    out[..., rows, rows + offset] = x
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


@rule("tril")
def _tril(t: Tracer, x, diagonal=0):
    return np.where(np.tril(np.ones(x.shape[-2:], bool), diagonal), x, t.graph.whole(0))


@rule("triu")
def _triu(t: Tracer, x, diagonal=0):
    return np.where(np.triu(np.ones(x.shape[-2:], bool), diagonal), x, t.graph.whole(0))


@rule("cat", "concat", "concatenate")
def _cat(t: Tracer, tensors, dim=0):
    # torch lets empty vectors stand among arrays of any shape
    return np.concatenate([a for a in tensors if a.shape != (0,)] or tensors, axis=dim)


@rule("stack")
def _stack(t: Tracer, tensors, dim=0):
    return np.stack(tensors, axis=dim)


@rule("split", "split_with_sizes", "split_copy")
def _split(t: Tracer, x, size, dim=0):
    length = x.shape[dim]
    sizes = [size] * math.ceil(length / size) if isinstance(size, int) else list(size)
    ends = np.cumsum(sizes)
    return [x[_along(x, dim, slice(end - n, min(end, length)))] for n, end in zip(sizes, ends, strict=True)]


@rule("unbind", "unbind_copy")
def _unbind(t: Tracer, x, dim=0):
    return [x[_along(x, dim, i)] for i in range(x.shape[dim])]


@rule("flip")
def _flip(t: Tracer, x, dims):
    return np.flip(x, axes_of(dims, x.ndim)).copy()


@rule("roll")
def _roll(t: Tracer, x, shifts, dims=()):
    shifts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    dims = (dims,) if isinstance(dims, int) else tuple(dims)
    return np.roll(x, shifts, dims) if dims else np.roll(x, shifts[0])


@rule("repeat")
def _repeat(t: Tracer, x, repeats):
    return np.tile(x, tuple(repeats))


@rule("unfold")
def _unfold(t: Tracer, x, dim, size, step):
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=dim)
    return windows[_along(windows, dim, slice(None, None, step))]


@rule("index")
def _index(t: Tracer, x, indices):
    return x[_indices(t, indices)]


@rule("index_put", "_unsafe_index_put")
def _index_put(t: Tracer, x, indices, values, accumulate=False):
    where = _indices(t, indices)
    out = x.copy()
    if not accumulate:
        out[where] = values
        return out
    places = np.arange(x.size).reshape(x.shape)[where]
    flat = out.reshape(-1)
    for place, value in zip(places.flat, np.broadcast_to(values, places.shape).flat, strict=True):
        flat[place] = t.graph.apply("add", int(flat[place]), int(value))
    return out


def _indices(t: Tracer, indices) -> tuple:
    return tuple(slice(None) if i is None else _constant_index(t, i) for i in indices)


def _constant_index(t: Tracer, index: np.ndarray) -> np.ndarray:
    values = t.known(index)
    return values if values.dtype == bool else values.astype(np.int64)


@rule("index_select")
def _index_select(t: Tracer, x, dim, index):
    return np.take(x, np.atleast_1d(_constant_index(t, index)), axis=dim)


@rule("take")
def _take(t: Tracer, x, index):
    return x.reshape(-1)[_constant_index(t, index)]


@rule("gather")
def _gather(t: Tracer, x, dim, index, sparse_grad=False):
    index = _constant_index(t, index)
    trimmed = x[tuple(slice(None) if a == dim % x.ndim else slice(0, n) for a, n in enumerate(index.shape))]
    return np.take_along_axis(trimmed, index, axis=dim)


@rule("scatter")
def _scatter(t: Tracer, x, dim, index, source, reduce=None):
    if reduce is not None:
        raise Untranslatable(f"reduce={reduce!r}")
    return _scattered(t, x, dim, index, source, add=False)


@rule("scatter_add")
def _scatter_add(t: Tracer, x, dim, index, source):
    return _scattered(t, x, dim, index, source, add=True)


@rule("index_add")
def _index_add(t: Tracer, x, dim, index, source, alpha=1):
    shape = [-1 if a == dim % x.ndim else 1 for a in range(x.ndim)]
    index = np.broadcast_to(index.reshape(shape), source.shape)
    return _scattered(t, x, dim, index, t.map("mul", source, alpha), add=True)


def _scattered(t: Tracer, x, dim, index, source, *, add: bool):
    index = _constant_index(t, index)
    source = np.broadcast_to(t.array(source), index.shape) if not isinstance(source, np.ndarray) else source
    out = x.copy()
    for place in np.ndindex(index.shape):
        into = list(place)
        into[dim] = index[place]
        value = int(source[place])
        out[tuple(into)] = t.graph.apply("add", int(out[tuple(into)]), value) if add else value
    return out

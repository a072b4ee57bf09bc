"""Rules for ATen operations that act on each element."""

from __future__ import annotations

import math

import numpy as np
import torch

from pyness.sampling.engines.julia.translator.trace import Tracer, Untranslatable, rule

__all__: list[str] = []

_SAME = {
    "neg": "neg",
    "abs": "abs",
    "sign": "sign",
    "sgn": "sign",
    "floor": "floor",
    "ceil": "ceil",
    "trunc": "trunc",
    "sqrt": "sqrt",
    "exp": "exp",
    "exp2": "exp2",
    "expm1": "expm1",
    "log": "log",
    "log2": "log2",
    "log10": "log10",
    "log1p": "log1p",
    "sin": "sin",
    "cos": "cos",
    "tan": "tan",
    "asin": "asin",
    "acos": "acos",
    "atan": "atan",
    "sinh": "sinh",
    "cosh": "cosh",
    "tanh": "tanh",
    "asinh": "asinh",
    "acosh": "acosh",
    "atanh": "atanh",
    "erf": "erf",
    "special_erf": "erf",
    "erfc": "erfc",
    "mul": "mul",
    "maximum": "max",
    "minimum": "min",
    "fmod": "rem",
    "remainder": "mod",
    "atan2": "atan2",
    "lt": "lt",
    "le": "le",
    "eq": "eq",
    "ne": "ne",
    "logical_and": "and",
    "logical_or": "or",
    "logical_not": "not",
    "logical_xor": "ne",
    "isnan": "isnan",
    "isfinite": "isfinite",
}


def _enter(aten: str, op: str) -> None:
    @rule(aten)
    def apply(t: Tracer, *args):
        if aten == "logical_xor":
            args = [t.cast(t.array(a), torch.bool) for a in args]
        return t.map(op, *args)


for _aten, _op in _SAME.items():
    _enter(_aten, _op)


@rule("gt")
def _gt(t: Tracer, a, b):
    return t.map("lt", b, a)


@rule("ge")
def _ge(t: Tracer, a, b):
    return t.map("le", b, a)


@rule("add")
def _add(t: Tracer, a, b, alpha=1):
    return t.map("add", a, b if alpha == 1 else t.map("mul", b, alpha))


@rule("sub")
def _sub(t: Tracer, a, b, alpha=1):
    return t.map("sub", a, b if alpha == 1 else t.map("mul", b, alpha))


@rule("rsub")
def _rsub(t: Tracer, a, b, alpha=1):
    return _sub(t, b, a, alpha)


@rule("div", "true_divide", "divide")
def _div(t: Tracer, a, b, rounding_mode=None):
    if rounding_mode == "floor":  # as torch: the floor of the exact quotient, not of the rounded one
        return t.map("round", t.map("div", t.map("sub", a, t.map("mod", a, b)), b))
    quotient = t.map("div", a, b)
    return quotient if rounding_mode is None else t.map("trunc", quotient)


@rule("floor_divide")
def _floor_divide(t: Tracer, a, b):
    return _div(t, a, b, "floor")


@rule("addcmul")
def _addcmul(t: Tracer, x, a, b, value=1):
    return t.map("add", x, t.map("mul", value, t.map("mul", a, b)))


@rule("addcdiv")
def _addcdiv(t: Tracer, x, a, b, value=1):
    return t.map("add", x, t.map("mul", value, t.map("div", a, b)))


@rule("lerp")
def _lerp(t: Tracer, a, b, weight):
    return t.map("add", a, t.map("mul", weight, t.map("sub", b, a)))


@rule("pow", "float_power")
def _pow(t: Tracer, base, exponent):
    return t.map("pow", base, exponent)


@rule("square")
def _square(t: Tracer, x):
    return t.map("mul", x, x)


@rule("reciprocal")
def _reciprocal(t: Tracer, x):
    return t.map("div", 1, x)


@rule("rsqrt")
def _rsqrt(t: Tracer, x):
    return t.map("div", 1, t.map("sqrt", x))


@rule("frac")
def _frac(t: Tracer, x):
    return t.map("sub", x, t.map("trunc", x))


@rule("round")
def _round(t: Tracer, x, decimals=0):
    if decimals:
        raise Untranslatable(f"decimals={decimals}")
    return t.map("round", x)


@rule("isinf")
def _isinf(t: Tracer, x):
    return t.map("eq", t.map("abs", x), math.inf)


@rule("sigmoid")
def _sigmoid(t: Tracer, x):
    return t.map("div", 1, t.map("add", 1, t.map("exp", t.map("neg", x))))


@rule("softplus")
def _softplus(t: Tracer, x, beta=1, threshold=20):
    scaled = t.map("mul", x, beta)
    smooth = t.map("div", t.map("log1p", t.map("exp", scaled)), beta)
    return t.map("select", t.map("lt", threshold, scaled), x, smooth)


@rule("logaddexp")
def _logaddexp(t: Tracer, a, b):
    apart = t.map("neg", t.map("abs", t.map("sub", a, b)))
    return t.map("add", t.map("max", a, b), t.map("log1p", t.map("exp", apart)))


@rule("hypot")
def _hypot(t: Tracer, a, b):
    return t.map("sqrt", t.map("add", t.map("mul", a, a), t.map("mul", b, b)))


@rule("copysign")
def _copysign(t: Tracer, size, sign):
    size = t.map("abs", size)
    return t.map("select", t.map("lt", sign, 0), t.map("neg", size), size)


@rule("relu")
def _relu(t: Tracer, x):
    return t.map("max", x, 0)


@rule("sinc")
def _sinc(t: Tracer, x):
    scaled = t.map("mul", x, math.pi)
    return t.map("select", t.map("eq", x, 0), 1, t.map("div", t.map("sin", scaled), scaled))


@rule("where")
def _where(t: Tracer, condition, yes=None, no=None):
    if yes is None:
        raise Untranslatable("one argument: a shape that depends on the state")
    return t.map("select", condition, yes, no)


@rule("masked_fill")
def _masked_fill(t: Tracer, x, mask, value):
    return t.map("select", mask, value, x)


@rule("clamp")
def _clamp(t: Tracer, x, min=None, max=None):
    if min is not None:
        x = t.map("max", x, min)
    return x if max is None else t.map("min", x, max)


@rule("clamp_min")
def _clamp_min(t: Tracer, x, min):
    return _clamp(t, x, min)


@rule("clamp_max")
def _clamp_max(t: Tracer, x, max):
    return _clamp(t, x, None, max)


@rule("bitwise_and", "__and__")
def _and(t: Tracer, a, b):
    return _truths_only(t, "and", a, b)


@rule("bitwise_or", "__or__")
def _or(t: Tracer, a, b):
    return _truths_only(t, "or", a, b)


@rule("bitwise_xor", "__xor__")
def _xor(t: Tracer, a, b):
    return _truths_only(t, "ne", a, b)


@rule("bitwise_not")
def _not(t: Tracer, a):
    return _truths_only(t, "not", a)


def _truths_only(t: Tracer, op: str, *args):
    arrays = [t.array(a) for a in args]
    if not all(t.graph.nodes[i].boolean for a in arrays for i in a.flat):
        raise Untranslatable("bits of whole numbers")
    return t.map(op, *arrays)


@rule("_to_copy", "to")
def _to_copy(t: Tracer, x, dtype=None, **_ignored):
    if dtype is not None and not dtype.is_floating_point and dtype != torch.bool:
        return t.map("trunc", x)
    return x.copy()


@rule("copy")
def _copy(t: Tracer, into, source, non_blocking=False):
    return np.broadcast_to(source, into.shape)


@rule("fill")
def _fill(t: Tracer, into, value):
    return np.broadcast_to(t.array(value), into.shape)


@rule("zero")
def _zero(t: Tracer, into):
    return np.full(into.shape, t.graph.whole(0))


@rule("clone", "lift_fresh_copy", "contiguous", "alias_copy", "detach_copy")
def _clone(t: Tracer, x, memory_format=None):
    return x.copy()


@rule("detach", "alias", "lift_fresh", "lift", "view_as_real", "positive", "conj", "resolve_conj", "resolve_neg")
def _identity(t: Tracer, x):
    return x


@rule("zeros_like", "new_zeros", "empty_like", "new_empty", "empty")
def _zeros(t: Tracer, like, size=None, **_ignored):
    return _filled(t, like, size, 0)


@rule("ones_like", "new_ones")
def _ones(t: Tracer, like, size=None, **_ignored):
    return _filled(t, like, size, 1)


@rule("full_like")
def _full_like(t: Tracer, like, value, **_ignored):
    return _filled(t, like, None, value)


@rule("new_full")
def _new_full(t: Tracer, like, size, value, **_ignored):
    return _filled(t, like, size, value)


def _filled(t: Tracer, like, size, value):
    shape = size if size is not None else like.shape if isinstance(like, np.ndarray) else like
    return np.full(tuple(shape), t.literal(value))

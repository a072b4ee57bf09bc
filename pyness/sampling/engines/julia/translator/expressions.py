"""The intermediate form: a graph of scalar operations in which every value appears once.

A translated function is a directed acyclic graph whose leaves are the coordinates of the state, whole numbers
(structure: they may be written into source text) and parameters (every other number: they travel as data, so that
a system with other parameters has the same source). Building folds what is known: zeros and ones vanish,
operations on constants become constants, and an expression met a second time is the one that is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy import special

__all__ = ["LARGEST", "OPERATIONS", "Graph", "Node", "Operation", "TooLarge"]

#: Straight-line code of more statements than this takes Julia minutes to compile.
LARGEST = 20_000

#: Integer powers up to this one are multiplied out (at most ten multiplications).
LARGEST_EXPANDED_POWER = 32


@dataclass(frozen=True)
class Operation:
    """One scalar operation: how numpy evaluates it and how Julia writes it.

    ``boolean`` says what it yields; ``symmetric`` that its two arguments may be exchanged. The Julia names that
    are not in Base are defined in ``PyNESS.Elementary``: they return NaN where Base throws a ``DomainError``.
    """

    numpy: Callable
    julia: str
    boolean: bool = False
    symmetric: bool = False


def _select(condition, yes, no):
    return np.where(condition, yes, no)


OPERATIONS: dict[str, Operation] = {
    "add": Operation(np.add, "{} + {}", symmetric=True),
    "sub": Operation(np.subtract, "{} - {}"),
    "mul": Operation(np.multiply, "{} * {}", symmetric=True),
    "div": Operation(np.true_divide, "{} / {}"),
    "neg": Operation(np.negative, "-{}"),
    "pow": Operation(np.power, "nanpow({}, {})"),
    "mod": Operation(np.remainder, "mod({}, {})"),
    "rem": Operation(np.fmod, "rem({}, {})"),
    "max": Operation(np.maximum, "max({}, {})", symmetric=True),
    "min": Operation(np.minimum, "min({}, {})", symmetric=True),
    "abs": Operation(np.abs, "abs({})"),
    "sign": Operation(np.sign, "sign({})"),
    "floor": Operation(np.floor, "floor({})"),
    "ceil": Operation(np.ceil, "ceil({})"),
    "round": Operation(np.rint, "round({})"),
    "trunc": Operation(np.trunc, "trunc({})"),
    "sqrt": Operation(np.sqrt, "nansqrt({})"),
    "exp": Operation(np.exp, "exp({})"),
    "exp2": Operation(np.exp2, "exp2({})"),
    "expm1": Operation(np.expm1, "expm1({})"),
    "log": Operation(np.log, "nanlog({})"),
    "log2": Operation(np.log2, "nanlog2({})"),
    "log10": Operation(np.log10, "nanlog10({})"),
    "log1p": Operation(np.log1p, "nanlog1p({})"),
    "sin": Operation(np.sin, "nansin({})"),
    "cos": Operation(np.cos, "nancos({})"),
    "tan": Operation(np.tan, "nantan({})"),
    "asin": Operation(np.arcsin, "nanasin({})"),
    "acos": Operation(np.arccos, "nanacos({})"),
    "atan": Operation(np.arctan, "atan({})"),
    "atan2": Operation(np.arctan2, "atan({}, {})"),
    "sinh": Operation(np.sinh, "sinh({})"),
    "cosh": Operation(np.cosh, "cosh({})"),
    "tanh": Operation(np.tanh, "tanh({})"),
    "asinh": Operation(np.arcsinh, "asinh({})"),
    "acosh": Operation(np.arccosh, "nanacosh({})"),
    "atanh": Operation(np.arctanh, "nanatanh({})"),
    "erf": Operation(special.erf, "erf({})"),
    "erfc": Operation(special.erfc, "erfc({})"),
    "lt": Operation(np.less, "{} < {}", boolean=True),
    "le": Operation(np.less_equal, "{} <= {}", boolean=True),
    "eq": Operation(np.equal, "{} == {}", boolean=True, symmetric=True),
    "ne": Operation(np.not_equal, "{} != {}", boolean=True, symmetric=True),
    "and": Operation(np.logical_and, "{} & {}", boolean=True, symmetric=True),
    "or": Operation(np.logical_or, "{} | {}", boolean=True, symmetric=True),
    "not": Operation(np.logical_not, "!{}", boolean=True),
    "isnan": Operation(np.isnan, "isnan({})", boolean=True),
    "isfinite": Operation(np.isfinite, "isfinite({})", boolean=True),
    "select": Operation(_select, "ifelse({}, {}, {})"),
}


@dataclass(frozen=True)
class Node:
    """One value of the graph.

    ``op`` is an operation's name with the indices of its arguments in ``args``, or ``"input"`` (``value`` is the
    coordinate), ``"whole"`` (``value`` an int or a bool), ``"parameter"`` (``value`` a float).
    """

    op: str
    args: tuple[int, ...]
    value: int | float | bool | None
    boolean: bool

    @property
    def constant(self) -> bool:
        return self.op in ("whole", "parameter")


class TooLarge(Exception):
    """The graph has grown beyond what is worth writing as scalar statements."""


class Graph:
    """Nodes in the order of their making; arguments come before the values made of them."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[Hashable, int] = {}
        self._origins: dict[int, Hashable] = {}

    def _enter(self, key: Hashable, node: Node) -> int:
        if key not in self._known:
            if len(self.nodes) >= 4 * LARGEST:  # some of them may turn out not to be needed
                raise TooLarge
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def input(self, coordinate: int) -> int:
        """The coordinate ``x_i`` of the state, counted from zero."""
        return self._enter(("input", coordinate), Node("input", (), coordinate, False))

    def whole(self, value: int | bool) -> int:
        """A number that belongs to the structure and may stand in the source."""
        boolean = isinstance(value, (bool, np.bool_))
        value = bool(value) if boolean else int(value)
        return self._enter(("whole", boolean, value), Node("whole", (), value, boolean))

    def parameter(self, value: float, origin: Hashable) -> int:
        """A number that travels as data. ``origin`` says which one it is, whatever its value; zero is structure."""
        return self.whole(0) if value == 0 else self._derived(float(value), origin)

    def _derived(self, value: float, origin: Hashable) -> int:
        # the value is part of the key so that one origin with two values (a trace that is not repeatable) shows
        index = self._enter(("parameter", origin, repr(value)), Node("parameter", (), value, False))
        self._origins[index] = origin
        return index

    def constant(self, index: int) -> bool:
        return self.nodes[index].constant

    def is_whole(self, index: int, value: int | bool) -> bool:
        node = self.nodes[index]
        return node.op == "whole" and node.boolean == isinstance(value, bool) and node.value == value

    def number(self, index: int) -> int:
        """The value as a number: true is 1."""
        return self.apply("select", index, self.whole(1), self.whole(0)) if self.nodes[index].boolean else index

    def truth(self, index: int) -> int:
        """The value as a truth: not zero."""
        return index if self.nodes[index].boolean else self.apply("ne", index, self.whole(0))

    def apply(self, op: str, *args: int) -> int:
        """The value of an operation, folded where its arguments allow it."""
        args = self._coerce(op, args)
        folded = self._fold(op, args)
        if folded is not None:
            return folded
        operation = OPERATIONS[op]
        if operation.symmetric:
            args = tuple(sorted(args))
        boolean = operation.boolean or (op == "select" and self.nodes[args[1]].boolean)
        return self._enter((op, args), Node(op, args, None, boolean))

    def _coerce(self, op: str, args: tuple[int, ...]) -> tuple[int, ...]:
        if op in ("and", "or", "not"):
            return tuple(self.truth(a) for a in args)
        if op == "select":
            condition, yes, no = args
            if self.nodes[yes].boolean != self.nodes[no].boolean:
                yes, no = self.number(yes), self.number(no)
            return self.truth(condition), yes, no
        return tuple(self.number(a) for a in args)

    def _fold(self, op: str, args: tuple[int, ...]) -> int | None:
        rule = getattr(self, f"_fold_{op}", None)
        folded = rule(*args) if rule is not None else None
        if folded is None and all(self.constant(a) for a in args):
            folded = self._evaluate(op, args)
        return folded

    def _evaluate(self, op: str, args: tuple[int, ...]) -> int:
        values = [self.nodes[a].value for a in args]
        with np.errstate(all="ignore"):
            # float64 even for whole numbers: numpy refuses integers to negative powers and wraps large ones
            value = OPERATIONS[op].numpy(*[v if isinstance(v, bool) else np.float64(v) for v in values])
        if OPERATIONS[op].boolean or isinstance(value, np.bool_):
            return self.whole(bool(value))
        value = float(value)
        if all(self.nodes[a].op == "whole" for a in args) and value.is_integer() and abs(value) < 2**53:
            return self.whole(int(value))
        return self._derived(value, (op, *(self._origins.get(a, self.nodes[a].value) for a in args)))

    def _fold_add(self, a: int, b: int) -> int | None:
        if self.is_whole(a, 0):
            return b
        if self.is_whole(b, 0):
            return a
        if self.nodes[b].op == "neg":
            return self.apply("sub", a, self.nodes[b].args[0])
        if self.nodes[a].op == "neg":
            return self.apply("sub", b, self.nodes[a].args[0])
        return None

    def _fold_sub(self, a: int, b: int) -> int | None:
        if self.is_whole(b, 0):
            return a
        if self.is_whole(a, 0):
            return self.apply("neg", b)
        return self.apply("add", a, self.nodes[b].args[0]) if self.nodes[b].op == "neg" else None

    def _fold_mul(self, a: int, b: int) -> int | None:
        for one, other in ((a, b), (b, a)):
            if self.is_whole(one, 0):
                return one
            if self.is_whole(one, 1):
                return other
            if self.is_whole(one, -1):
                return self.apply("neg", other)
        return None

    def _fold_div(self, a: int, b: int) -> int | None:
        if self.is_whole(b, 1) or (self.is_whole(a, 0) and not self.is_whole(b, 0)):
            return a
        return self.apply("neg", a) if self.is_whole(b, -1) else None

    def _fold_neg(self, a: int) -> int | None:
        return self.nodes[a].args[0] if self.nodes[a].op == "neg" else None

    def _fold_not(self, a: int) -> int | None:
        return self.nodes[a].args[0] if self.nodes[a].op == "not" else None

    def _fold_and(self, a: int, b: int) -> int | None:
        for one, other in ((a, b), (b, a)):
            if self.nodes[one].op == "whole":
                return other if self.nodes[one].value else one
        return a if a == b else None

    def _fold_or(self, a: int, b: int) -> int | None:
        for one, other in ((a, b), (b, a)):
            if self.nodes[one].op == "whole":
                return one if self.nodes[one].value else other
        return a if a == b else None

    def _fold_max(self, a: int, b: int) -> int | None:
        return a if a == b else None

    _fold_min = _fold_max

    def _fold_select(self, condition: int, yes: int, no: int) -> int | None:
        if self.nodes[condition].op == "whole":
            return yes if self.nodes[condition].value else no
        return yes if yes == no else None

    def _fold_pow(self, base: int, exponent: int) -> int | None:
        node = self.nodes[exponent]
        if not node.constant or self.constant(base):
            return None
        if node.value == 0.5:
            return self.apply("sqrt", base)
        if float(node.value).is_integer() and abs(node.value) <= LARGEST_EXPANDED_POWER:
            power = self._power(base, abs(int(node.value)))
            return power if node.value >= 0 else self.apply("div", self.whole(1), power)
        return None

    def _power(self, base: int, exponent: int) -> int:
        """By repeated squaring."""
        if exponent == 0:
            return self.whole(1)
        half = self._power(base, exponent // 2)
        square = self.apply("mul", half, half)
        return self.apply("mul", square, base) if exponent % 2 else square

    def sum(self, terms: Sequence[int]) -> int:
        """The sum as a balanced tree, so that a processor can add in parallel."""
        terms = [self.number(t) for t in terms if not self.is_whole(t, 0)]
        if not terms:
            return self.whole(0)
        while len(terms) > 1:
            paired = [self.apply("add", a, b) for a, b in zip(terms[::2], terms[1::2], strict=False)]
            terms = paired + terms[len(paired) * 2 :]
        return terms[0]

    def fold(self, op: str, terms: Iterable[int]) -> int:
        """``op`` applied from left to right."""
        return reduce(lambda a, b: self.apply(op, a, b), terms)

    def live(self, outputs: Sequence[int]) -> list[int]:
        """The nodes the outputs are made of, arguments first."""
        needed: set[int] = set()
        pending = list(outputs)
        while pending:
            index = pending.pop()
            if index not in needed:
                needed.add(index)
                pending.extend(self.nodes[index].args)
        return sorted(needed)

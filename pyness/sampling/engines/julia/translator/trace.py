"""From a torch function to the intermediate form, by watching the ATen operations it dispatches.

The function runs once on a point. Every operation that reaches torch's dispatcher is done twice: by torch on
numbers, and by a rule on the indices of graph nodes, one per element. Rules see numpy arrays of indices, on which
slicing gives views as it does in torch, so that writing into a slice needs no special treatment.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from pyness.errors import TranslationError
from pyness.sampling.engines.julia.translator.expressions import Graph

__all__ = ["RULES", "Tracer", "Untranslatable", "rule", "trace"]

#: ATen operation name (without namespace and overload) -> rule(tracer, *args, **kwargs).
RULES: dict[str, Callable] = {}

_OWN = os.path.dirname(os.path.abspath(__file__))
_TORCH = os.path.dirname(os.path.abspath(torch.__file__))
_READS = ("_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal")
_SHAPE_WRITES = ("t", "transpose", "squeeze", "unsqueeze")
_REMEDY = "write it with other operations, give System(julia=...) or use engine='torch'"


class Untranslatable(Exception):
    """Raised by a rule that does not cover its arguments; the text says why."""


def rule(*names: str) -> Callable[[Callable], Callable]:
    """Enter a rule for ATen operations. Arguments come as dispatched, tensors replaced by arrays of node indices."""

    def enter(function: Callable) -> Callable:
        for name in names:
            RULES[name] = function
        return function

    return enter


def trace(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, graph: Graph, label: str) -> np.ndarray:
    """The nodes of ``function(x)``, an array of the output's shape, entered into ``graph``.

    Args:
        function: maps a state ``(d,)`` to a tensor, made of torch operations.
        x: ``(d,)``, the point at which it is run.
        label: what the function is, for parameters' origins and messages.

    Raises:
        TranslationError: an operation without a rule, a branch that depends on the state; names the user's line.
    """
    x = x.detach().clone()
    tracer = Tracer(graph, label)
    inputs = np.array([graph.input(i) for i in range(x.numel())], dtype=np.int64)
    tracer.bind(x, inputs.reshape(x.shape))
    with tracer:
        out = function(x)
    return tracer.symbols(out)


class Tracer(TorchDispatchMode):
    """Runs torch operations while keeping, for every tensor met, the nodes of its elements."""

    def __init__(self, graph: Graph, label: str) -> None:
        super().__init__()
        self.graph = graph
        self.label = label
        self._symbols: dict[int, np.ndarray] = {}
        self._unknown: set[int] = set()  # results no rule can express, refused when used
        self._alive: list[torch.Tensor] = []  # an id must not be taken over by a later tensor
        self._origins = 0
        self._outer: str | None = None

    def bind(self, tensor: torch.Tensor, symbols: np.ndarray) -> None:
        self._symbols[id(tensor)] = symbols
        self._alive.append(tensor)

    def symbols(self, tensor: torch.Tensor) -> np.ndarray:
        """The nodes of a tensor; one that was never seen is a constant of the user's."""
        if id(tensor) not in self._symbols:
            if id(tensor) in self._unknown:
                raise self.refusal("a place (argmax, argsort, ...) that depends on the state")
            if tensor.is_complex():
                raise self.refusal("complex numbers")
            self.bind(tensor, self.constants(tensor.detach()))
        return self._symbols[id(tensor)]

    def origin(self) -> Hashable:
        """A name for the next literal of the trace: the same one when the same code is traced again."""
        self._origins += 1
        return (self.label, self._origins)

    def constants(self, values: torch.Tensor, structural: bool = False) -> np.ndarray:
        """Nodes of given numbers: whole numbers are structure, floating ones are parameters.

        ``structural`` says that floating numbers come from no parameter (``torch.ones``): whole where they can be.
        """
        # forced: a tangent that is zero everywhere has no storage of its own
        array = values.numpy(force=True)
        if values.dtype.is_floating_point and not (structural and (array == np.rint(array)).all()):
            origin = self.origin()
            nodes = [self.graph.parameter(v, (*origin, i)) for i, v in enumerate(array.astype(np.float64).flat)]
        else:
            nodes = [self.graph.whole(v) for v in array.flat]
        return np.array(nodes, dtype=np.int64).reshape(array.shape)

    def literal(self, value: float | int | bool) -> int:
        """The node of a number written in the code."""
        if isinstance(value, (bool, int)):
            return self.graph.whole(value)
        if isinstance(value, float):
            return self.graph.parameter(value, self.origin())
        raise Untranslatable(f"an argument of type {type(value).__name__}")

    def array(self, value: Any) -> np.ndarray:
        """An argument of an operation as an array of nodes, be it nodes already or a number."""
        return (
            np.asarray(value)
            if isinstance(value, (np.ndarray, np.integer))
            else np.array(self.literal(value), dtype=np.int64)
        )

    def known(self, symbols: np.ndarray, what: str = "an index") -> np.ndarray:
        """The values of nodes that must be constants, as an array.

        Raises:
            Untranslatable: one of them depends on the state.
        """
        if not all(self.graph.constant(i) for i in symbols.flat):
            raise Untranslatable(f"{what} that depends on the state")
        return np.array([self.graph.nodes[i].value for i in symbols.flat]).reshape(symbols.shape)

    def map(self, op: str, *arrays: Any) -> np.ndarray:
        """``op`` element by element, with broadcasting."""
        parts = np.broadcast_arrays(*[self.array(a) for a in arrays])
        out = np.empty(parts[0].shape, dtype=np.int64)
        flat = out.reshape(-1)
        for i, args in enumerate(zip(*[p.flat for p in parts], strict=True)):
            flat[i] = self.graph.apply(op, *(int(a) for a in args))
        return out

    def cast(self, symbols: np.ndarray, dtype: torch.dtype) -> np.ndarray:
        """Truths where a bool is wanted, numbers elsewhere; ``symbols`` itself where nothing changes."""
        boolean = dtype == torch.bool
        if all(self.graph.nodes[i].boolean == boolean for i in symbols.flat):
            return symbols
        convert = self.graph.truth if boolean else self.graph.number
        return np.array([convert(int(i)) for i in symbols.flat], dtype=np.int64).reshape(symbols.shape)

    def refusal(self, problem: str) -> TranslationError:
        file, line, code = _user_line()
        where = f"{file}:{line}" + (f" ({code})" if code else "")
        return TranslationError(f"{self.label}: {problem} has no Julia translation, at {where}", _REMEDY)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name, writes = _base_name(func)
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise self.refusal(f"random operation '{func}'")
        # before torch runs: an in-place operation on a constant of the user's must meet its old values
        symbolic_args, symbolic_kwargs = self._replace(args), self._replace(kwargs)
        if name in _READS:  # values leave torch
            return self._read(func, args, kwargs, (symbolic_args, symbolic_kwargs))
        if not any("Tensor" in str(r.type) for r in func._schema.returns):  # a question about shapes or storage
            return func(*args, **kwargs)
        if name not in RULES:
            return self._without_rule(func, args, kwargs, (symbolic_args, symbolic_kwargs))
        if writes and "out" not in kwargs and not func._schema.name.endswith("_"):
            raise self.refusal(f"operation '{func}' into given tensors")
        out = func(*args, **kwargs)
        target = (kwargs["out"] if "out" in kwargs else args[0]) if writes else None
        symbolic_kwargs.pop("out", None)
        try:
            symbols = RULES[name](self, *symbolic_args, **symbolic_kwargs)
        except Untranslatable as reason:
            raise self.refusal(f"operation '{func}' with {reason}") from None
        if target is not None and name not in _SHAPE_WRITES:
            kept = self.symbols(target)
            kept[...] = self.cast(np.asarray(symbols, dtype=np.int64), target.dtype)
        else:
            self._bind_all(func, out, symbols)
        return out

    def _replace(self, structure):
        return tree_map_only(torch.Tensor, self.symbols, structure)

    def _bind_all(self, func, out, symbols) -> None:
        tensors = [t for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor)]
        arrays = symbols if isinstance(symbols, (list, tuple)) else [symbols]
        for tensor, array in zip(tensors, arrays, strict=True):
            if tensor.is_complex():
                raise self.refusal(f"operation '{func}' with a complex result")
            if array is None:
                self._unknown.add(id(tensor))
                self._alive.append(tensor)
                continue
            array = np.asarray(array, dtype=np.int64)
            if array.shape != tuple(tensor.shape):
                raise AssertionError(f"rule of {func} gave shape {array.shape}, torch {tuple(tensor.shape)}")
            self.bind(tensor, self.cast(array, tensor.dtype))

    def _all_constant(self, symbolic) -> bool:
        arrays = [a for a in tree_flatten(symbolic)[0] if isinstance(a, np.ndarray)]
        return all(self.graph.constant(i) for a in arrays for i in a.flat)

    def _read(self, func, args, kwargs, symbolic):
        """A tensor's value leaves torch: harmless for constants, a branch on the state otherwise."""
        if not self._all_constant(symbolic):
            raise self.refusal("a Python value or branch that depends on the state (use torch.where)")
        out = func(*args, **kwargs)
        if isinstance(out, torch.Tensor):
            self.bind(out, self.constants(out))
        return out

    def _without_rule(self, func, args, kwargs, symbolic):
        """Whatever torch makes of constants alone is constant; all else goes through torch's own decomposition."""
        if self._all_constant(symbolic) and not any(a.alias_info for a in func._schema.arguments):
            out = func(*args, **kwargs)
            structural = not any(isinstance(a, (float, np.ndarray)) for a in tree_flatten(symbolic)[0])
            for tensor in tree_flatten(out)[0]:
                if isinstance(tensor, torch.Tensor):
                    self.bind(tensor, self.constants(tensor, structural))
            return out
        return self._decompose(func, args, kwargs)

    def _decompose(self, func, args, kwargs):
        from torch._decomp import decomposition_table

        decomposition = decomposition_table.get(func)
        if decomposition is None and func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            decomposition = func.decompose
        if decomposition is None:
            raise self.refusal(f"operation '{self._outer or func}'")
        outer, self._outer = self._outer, self._outer or str(func)
        try:
            with self:
                return decomposition(*args, **kwargs)
        finally:
            self._outer = outer


def _base_name(func) -> tuple[str, bool]:
    """The operation's name without namespace, overload and the underscore of an in-place form; whether it writes."""
    schema = func._schema
    name = schema.name.split("::")[-1]
    writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
    if writes and name.endswith("_") and not name.endswith("__"):
        name = name[:-1]
    return name, writes


def _user_line() -> tuple[str, int, str]:
    """File, line and text of the innermost frame that is neither torch's nor this translator's."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not os.path.abspath(file).startswith((_OWN + os.sep, _TORCH + os.sep)) and not file.startswith("<frozen"):
            text = linecache.getline(file, frame.f_lineno).strip()
            return file, frame.f_lineno, text
        frame = frame.f_back
    return "<unknown>", 0, ""


def axes_of(dim: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Dimensions as non-negative numbers; all of them for None or an empty list."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    return tuple(d % ndim if ndim else 0 for d in ((dim,) if isinstance(dim, int) else dim))

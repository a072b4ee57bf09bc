"""The graph: folding, sharing, parameters; and a family of random expressions against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyness.sampling.engines.julia.translator import elementwise, linear, shapes  # noqa: F401  (they enter rules)
from pyness.sampling.engines.julia.translator.evaluate import evaluate
from pyness.sampling.engines.julia.translator.expressions import LARGEST, Graph, TooLarge
from pyness.sampling.engines.julia.translator.trace import trace


@pytest.fixture
def graph():
    return Graph()


def test_equal_expressions_are_one_node(graph):
    x, y = graph.input(0), graph.input(1)
    assert graph.apply("add", x, y) == graph.apply("add", y, x)
    assert graph.apply("sub", x, y) != graph.apply("sub", y, x)


def test_zeros_and_ones_fold(graph):
    x, zero, one = graph.input(0), graph.whole(0), graph.whole(1)
    assert graph.apply("add", x, zero) == x
    assert graph.apply("mul", x, zero) == zero
    assert graph.apply("mul", one, x) == x
    assert graph.apply("div", zero, x) == zero
    assert graph.apply("sub", x, zero) == x
    assert graph.apply("pow", x, zero) == one
    assert graph.apply("neg", graph.apply("neg", x)) == x
    assert graph.apply("select", graph.apply("lt", zero, one), x, zero) == x
    assert graph.parameter(0.0, "a") == zero
    assert graph.sum([]) == zero


def test_a_parameter_of_value_one_stays_data(graph):
    x = graph.input(0)
    assert graph.apply("mul", x, graph.parameter(1.0, "k")) != x


def test_operations_on_constants_are_constants(graph):
    half = graph.apply("div", graph.whole(1), graph.whole(2))
    assert graph.nodes[half].value == 0.5
    assert graph.nodes[graph.apply("mul", half, graph.whole(3))].op == "parameter"
    assert graph.apply("mul", graph.whole(2), graph.whole(3)) == graph.whole(6)
    k = graph.parameter(2.5, "k")
    assert graph.nodes[graph.apply("exp", k)].value == pytest.approx(np.exp(2.5))
    # two parameters of equal value remain two
    assert graph.apply("exp", k) != graph.apply("exp", graph.parameter(2.5, "other"))


def test_powers_are_multiplied_out(graph):
    x = graph.input(0)
    power = graph.apply("pow", x, graph.whole(13))
    ops = [graph.nodes[i].op for i in graph.live([power])]
    assert ops.count("mul") == 5
    assert "pow" not in ops
    assert evaluate(graph, [power], np.array([[1.1]]))[0, 0] == pytest.approx(1.1**13, rel=1e-14)


def test_only_what_is_needed_lives(graph):
    x, y = graph.input(0), graph.input(1)
    kept = graph.apply("mul", x, x)
    graph.apply("exp", y)
    assert graph.live([kept]) == [x, kept]


def test_the_graph_stops_growing(graph):
    with pytest.raises(TooLarge):
        graph.sum([graph.input(i) for i in range(3 * LARGEST)])


NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.floats(-3, 3, allow_nan=False, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-3),
)
UNARY = {
    "neg": torch.neg,
    "abs": torch.abs,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sin": torch.sin,
    "gauss": lambda a: torch.exp(-a * a),
    "hill": lambda a: a**4 / (0.5 + a**4),
    "root": lambda a: torch.sqrt(1 + a * a),
    "log": lambda a: torch.log1p(a.abs()),
    "softplus": torch.nn.functional.softplus,
    "clamp": lambda a: a.clamp(-1.5, 2),
    "sum": lambda a: a.sum(-1, keepdim=True).expand(a.shape),
    "mean": lambda a: a - a.mean(-1, keepdim=True),
    "flip": lambda a: a.flip(-1),
    "roll": lambda a: torch.roll(a, 1, -1),
    "cumsum": lambda a: torch.cumsum(a, -1),
    "softmax": lambda a: torch.softmax(a, -1),
    "first": lambda a: a[..., :1] * torch.ones_like(a),
    "stack": lambda a: torch.stack([a[..., 2], a[..., 0], a[..., 1]], -1),
}
BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "ratio": lambda a, b: a / (1 + b * b),
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda a, b: torch.where(a > b, a, 2 * b),
    "dot": lambda a, b: a * (a * b).sum(-1, keepdim=True),
}


def expressions():
    leaf = st.one_of(st.just(("x",)), NUMBERS.map(lambda v: ("number", v)))

    def extend(inner):
        matrices = st.lists(NUMBERS, min_size=9, max_size=9)
        return st.one_of(
            st.tuples(st.just("unary"), st.sampled_from(sorted(UNARY)), inner),
            st.tuples(st.just("binary"), st.sampled_from(sorted(BINARY)), inner, inner),
            st.tuples(st.just("matrix"), matrices, inner),
        )

    return st.recursive(leaf, extend, max_leaves=8)


def build(expression, x):
    kind, *rest = expression
    if kind == "x":
        return x
    if kind == "number":
        return torch.full_like(x, rest[0])
    if kind == "unary":
        return UNARY[rest[0]](build(rest[1], x))
    if kind == "binary":
        return BINARY[rest[0]](build(rest[1], x), build(rest[2], x))
    matrix = torch.tensor(rest[0], dtype=torch.float64).reshape(3, 3)
    return build(rest[1], x) @ matrix.to(x).mT


@settings(max_examples=200, deadline=None, derandomize=True)
@given(expression=expressions(), seed=st.integers(0, 2**31))
def test_random_expressions_agree_with_torch(expression, seed):
    x = 2 * torch.randn(8, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    graph = Graph()
    nodes = trace(lambda z: build(expression, z), x[0], graph, "drift")
    expected = torch.stack([build(expression, point) for point in x]).numpy()
    found = evaluate(graph, list(nodes), x.numpy())
    # errors are relative to the largest number met on the way, which cancellation may make larger than the result
    scale = max(1.0, largest(expression, x))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * scale)


def largest(expression, x) -> float:
    value = build(expression, x).abs().max().item()
    return max([value] + [largest(part, x) for part in expression[1:] if isinstance(part, tuple)])

"""Each torch operation a drift may contain, against torch itself at points on both sides of its branches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as nn

from pyness.errors import TranslationError
from pyness.sampling.engines.julia.translator import elementwise, linear, shapes  # noqa: F401  (they enter rules)
from pyness.sampling.engines.julia.translator.evaluate import evaluate
from pyness.sampling.engines.julia.translator.expressions import Graph
from pyness.sampling.engines.julia.translator.trace import trace

D = 4
M = torch.tensor([[1.0, 0, 0.3, 0], [0, 0, 2.0, -1.0], [0.5, 0, 0, 0], [0, 1.0, 0, 1.5]], dtype=torch.float64)
ROW = torch.tensor([0.5, -1.0, 2.0, 0.25], dtype=torch.float64)
SINGLE = torch.tensor([1.0, 2.0, 3.0, 4.0])
INDEX = torch.tensor([2, 0, 3, 3])
MASK = torch.tensor([True, False, True, True])


def in_place(x):
    y = torch.zeros_like(x)
    y[..., 0] = x[..., 1] * 2
    y[..., 1:3] += x[..., :2]
    y.mul_(3).sub_(x, alpha=0.5)
    y[..., 3].fill_(0.7)
    return y


def scattered(x):
    y = torch.zeros(6, dtype=x.dtype)
    y[INDEX] = x
    y.index_add_(0, INDEX, x, alpha=2)
    return y.scatter_add(0, INDEX, x).index_put((INDEX,), x, accumulate=True)


def diagonal_write(x):
    y = torch.outer(x, x)
    y.diagonal().zero_()
    return y.sum(-1)


def by_gradient(x):
    return torch.func.grad(lambda z: (torch.tanh(z) ** 2).sum() + nn.softplus(z[0] * z[1]))(x)


def by_autograd(x):
    with torch.enable_grad():
        z = x.detach().clone().requires_grad_()
        energy = torch.logsumexp(z, -1) + (z.sigmoid() * z).sum() + torch.erf(z).prod()
        (gradient,) = torch.autograd.grad(energy, z)
    return gradient - x


def by_jvp(x):
    return torch.func.jvp(lambda z: torch.sin(z) * z.sum(), (x,), (ROW,))[1]


def by_jvp_of_nothing(x):
    """A part that does not move: its tangent has no storage."""
    return torch.func.jvp(lambda z: torch.stack([torch.sin(z), torch.zeros_like(z)]), (x,), (ROW,))[1].sum(0)


def pairs(x):
    positions = x.reshape(2, 2)
    apart = positions[:, None] - positions[None]
    distance = torch.linalg.vector_norm(apart + torch.eye(2, dtype=x.dtype)[..., None], dim=-1, keepdim=True)
    return (apart / distance**3).sum(1).flatten()


CASES = {
    "add": lambda x: x + 1,
    "add alpha": lambda x: torch.add(x, x, alpha=0.5),
    "sub": lambda x: 2.5 - x,
    "rsub": lambda x: torch.rsub(x, 3, alpha=2),
    "mul": lambda x: 0.1 * x * x,
    "div": lambda x: 1 / (2 + x * x),
    "div floor": lambda x: torch.div(x, 0.3, rounding_mode="floor"),
    "div trunc": lambda x: torch.div(x, 0.3, rounding_mode="trunc"),
    "floor divide": lambda x: x // 0.7,
    "neg": lambda x: -x,
    "pow 2": lambda x: x**2,
    "pow 7": lambda x: x**7,
    "pow -3": lambda x: x**-3,
    "pow 2.5": lambda x: x.abs() ** 2.5,
    "pow of negative": lambda x: x**2.5,
    "pow 1/2": lambda x: x.abs() ** 0.5,
    "pow tensor": lambda x: x.abs() ** x,
    "pow scalar base": lambda x: 2.0**x,
    "square": torch.square,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": lambda x: torch.log(x),
    "log2": lambda x: torch.log2(x.abs()),
    "log10": lambda x: torch.log10(x.abs()),
    "log1p": lambda x: torch.log1p(x * x),
    "sqrt": torch.sqrt,
    "rsqrt": lambda x: torch.rsqrt(x.abs()),
    "reciprocal": torch.reciprocal,
    "trigonometry": lambda x: torch.sin(x) + torch.cos(3 * x) * torch.tan(x),
    "inverse trigonometry": lambda x: torch.asin(x / 4) + torch.acos(x / 4) + torch.atan(x),
    "atan2": lambda x: torch.atan2(x, x.flip(-1)),
    "hyperbolic": lambda x: torch.sinh(x) + torch.cosh(x) - torch.tanh(x),
    "inverse hyperbolic": lambda x: torch.asinh(x) + torch.acosh(1 + x * x) + torch.atanh(x / 4),
    "erf": lambda x: torch.erf(x) + torch.erfc(x),
    "sinc": torch.sinc,
    "hypot": lambda x: torch.hypot(x, ROW),
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: nn.softplus(x) + nn.softplus(x, beta=2.0, threshold=3.0),
    "logaddexp": lambda x: torch.logaddexp(x, 2 * x.flip(-1)),
    "relu": lambda x: torch.relu(x),
    "leaky relu": lambda x: nn.leaky_relu(x, 0.2),
    "elu": nn.elu,
    "silu": nn.silu,
    "gelu": nn.gelu,
    "gelu tanh": lambda x: nn.gelu(x, approximate="tanh"),
    "logsigmoid": nn.logsigmoid,
    "hardtanh": nn.hardtanh,
    "mish": nn.mish,
    "softsign": nn.softsign,
    "lerp": lambda x: torch.lerp(x, x * x, 0.3),
    "addcmul": lambda x: torch.addcmul(x, x, ROW, value=0.3),
    "addcdiv": lambda x: torch.addcdiv(x, x, ROW, value=0.3),
    "where": lambda x: torch.where(x > 0.5, x * x, -x),
    "where scalar": lambda x: torch.where(x >= 0, x, 0.0),
    "comparisons": lambda x: (x < 0.3) * x + (x <= 0).to(x) - (x == x).to(x) * (x != 0.1),
    "logic": lambda x: torch.where((x > -1) & ~(x > 1) | (x > 2), x, 2 * x),
    "logic by name": lambda x: torch.where(torch.logical_xor(x > 0, x > 1), x, torch.logical_not(x > 2).to(x)),
    "clamp": lambda x: x.clamp(-0.5, 1.5) + x.clamp(min=0.2) + x.clamp_max(0.1),
    "maximum": lambda x: torch.maximum(x, ROW) - torch.minimum(x, ROW * 2),
    "abs sign": lambda x: x.abs() + torch.sign(x) + torch.sgn(x),
    "rounding": lambda x: torch.floor(3 * x) + torch.ceil(x) + torch.round(x) + torch.trunc(x) + torch.frac(x),
    "remainder": lambda x: torch.remainder(x, 0.7) + torch.fmod(x, 0.7) + x % 1,
    "copysign": lambda x: torch.copysign(ROW, x),
    "nan to num": lambda x: torch.nan_to_num(torch.log(x), nan=0.25),
    "isfinite": lambda x: torch.where(torch.isfinite(torch.sqrt(x)) & ~torch.isinf(x), x, 1.0),
    "masked fill": lambda x: x.masked_fill(x > 0, 0.4),
    "int": lambda x: x.long().to(x) + (x > 0).int(),
    "sum": lambda x: x * x.sum(-1, keepdim=True),
    "sum of truths": lambda x: x * (x > 0).sum(-1),
    "mean": lambda x: x - x.mean(),
    "var": lambda x: x * torch.var(x, dim=-1, correction=0) + x.std(-1),
    "prod": lambda x: x + x.prod() + x.prod(-1, keepdim=True),
    "cumsum": lambda x: torch.cumsum(x, -1),
    "cumprod": lambda x: torch.cumprod(x, -1),
    "amax": lambda x: x - x.amax(-1, keepdim=True) + x.amin(-1),
    "max": lambda x: x.max() + x.min(-1).values * x,
    "all any": lambda x: torch.where((x > -9).all() & (x > 1).any(), x, -x),
    "norms": lambda x: (
        x / torch.linalg.norm(x)
        + x.norm(p=1)
        + torch.linalg.vector_norm(x, ord=math.inf)
        + torch.linalg.vector_norm(x, ord=3)
        + torch.linalg.vector_norm(x, ord=0)
    ),
    "logsumexp": lambda x: x - torch.logsumexp(x, -1, keepdim=True),
    "softmax": lambda x: torch.softmax(x, -1) + torch.log_softmax(2 * x, -1),
    "matrix vector": lambda x: M @ x,
    "vector matrix": lambda x: x @ M.mT,
    "matrix product": lambda x: (M @ torch.outer(x, x) @ M).sum(-1),
    "batch product": lambda x: (M.expand(3, 4, 4) @ torch.diag_embed(x).expand(3, 4, 4)).sum((0, 2)),
    "einsum": lambda x: torch.einsum("ij,j,k->ik", M, x, x).sum(-1),
    "linear": lambda x: nn.linear(x, M, ROW),
    "dot": lambda x: x * torch.dot(x, ROW) + torch.inner(x, ROW),
    "addmv": lambda x: torch.addmv(ROW, M, x, beta=0.5, alpha=2.0),
    "trace": lambda x: x * torch.trace(torch.outer(x, x)),
    "inverse of a constant": lambda x: torch.linalg.inv(M + 3 * torch.eye(4, dtype=x.dtype)) @ x,
    "cross": lambda x: torch.linalg.cross(x[..., :3], ROW[:3]),
    "cdist": lambda x: torch.cdist(x.reshape(2, 2), x.reshape(2, 2) + 1).flatten(),
    "cholesky": lambda x: torch.linalg.cholesky(torch.outer(x, x) + torch.eye(4, dtype=x.dtype)).sum(-1),
    "index": lambda x: x[..., INDEX] + x[..., 1:2] + x[..., MASK].sum(),
    "gather": lambda x: torch.gather(x, -1, INDEX) + x.index_select(-1, INDEX) + torch.take(x, INDEX),
    "flip roll": lambda x: x.flip(-1) + torch.roll(x, 1, -1) - torch.roll(x, -2),
    "reshape": lambda x: x.view(2, 2).transpose(0, 1).reshape(4) + x.unflatten(-1, (2, 2)).permute(1, 0).flatten(),
    "stack cat": lambda x: torch.cat([torch.stack([x[..., 3], x[..., 0]], -1), x[..., :2]], -1),
    "split": lambda x: torch.cat([a * i for i, a in enumerate(x.split([1, 3], -1))] + list(x.chunk(2)), -1),
    "unbind": lambda x: torch.stack([a * a for a in x.unbind(-1)], -1),
    "squeeze expand": lambda x: x[None].expand(3, 4).sum(0) + x.unsqueeze(-1).squeeze(-1),
    "repeat": lambda x: x.repeat(2)[2:6] + x.repeat_interleave(2)[:4] + x.tile(2)[:4],
    "triangles": lambda x: (torch.tril(torch.outer(x, x), -1) - torch.triu(torch.outer(x, ROW))).sum(0),
    "diagonal": lambda x: torch.diagonal(torch.outer(x, x)) + torch.diag(x).sum(0),
    "unfold": lambda x: x.unfold(-1, 2, 1).sum(-1),
    "meshgrid": lambda x: torch.meshgrid(x, x, indexing="ij")[0].sum(0),
    "diff": lambda x: torch.diff(x, dim=-1),
    "factories": lambda x: (
        x * torch.arange(4)
        + torch.ones(4, dtype=x.dtype)
        + torch.full((4,), 0.3, dtype=x.dtype)
        + torch.linspace(0, 1, 4, dtype=x.dtype)
        + torch.full_like(x, 0.2)
        + x.new_tensor([1.0, 2.0, 0.0, 3.0])
        + torch.tensor(0.1, dtype=x.dtype)
    ),
    "another dtype": lambda x: x * SINGLE.to(x) + SINGLE,
    "read a constant": lambda x: x * ROW.max().item() if ROW[0] > 0 else x,
    "in place": in_place,
    "scatter": scattered,
    "write the diagonal": diagonal_write,
    "functional gradient": by_gradient,
    "autograd": by_autograd,
    "jvp": by_jvp,
    "jvp of nothing": by_jvp_of_nothing,
    "vmap": lambda x: torch.vmap(lambda a, b: torch.exp(-a * a) * b)(x, ROW),
    "pair forces": pairs,
    "not used": lambda x: x + 0 * torch.exp(x),
}

POINTS = torch.tensor(
    [[0.3, 1.2, 2.1, 0.7], [-0.4, 0.6, -1.7, 2.3], [1.6, -2.2, 0.45, -0.9], [0.0, 0.5, -0.5, 3.0], [-3, 2, -1, 1]],
    dtype=torch.float64,
)


@pytest.mark.parametrize("name", CASES)
def test_operation_agrees_with_torch(name):
    function = CASES[name]
    graph = Graph()
    nodes = trace(function, POINTS[0], graph, name)
    assert np.array_equal(nodes, trace(function, POINTS[1], graph, name)), "the trace depends on the point"
    for point in POINTS:
        expected = function(point).to(torch.float64).numpy()
        found = evaluate(graph, list(nodes.flat), point.numpy()).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x[..., (x > 0).long()], "index that depends on the state"),
        (lambda x: x[x > 0].sum(), "nonzero|index"),
        (lambda x: torch.sort(x).values, "aten.sort"),
        (lambda x: torch.linalg.eigvalsh(torch.outer(x, x)).sum(), "aten._linalg_eigh"),
        (lambda x: torch.special.i0(x), "i0"),
        (lambda x: torch.view_as_complex(x.reshape(2, 2)).abs(), "complex"),
        (lambda x: torch.bitwise_and(x.long(), 1).to(x), "bits"),
        (lambda x: x * float(x.sum()), "Python value"),
    ],
)
def test_operation_without_a_translation_is_named(function, named):
    with pytest.raises(TranslationError, match=named):
        trace(function, POINTS[0], Graph(), "drift")

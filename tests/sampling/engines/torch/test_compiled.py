"""Compiled strides do what eager ones do, whatever the drift does along its last dimension."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pyness import systems
from pyness.sampling import sample
from pyness.sampling.engines.torch import compiled
from pyness.systems import Box, System

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


def _field(system: System):
    return lambda *rows: list(system.drift(torch.stack(rows, dim=-1)).unbind(-1))


def _mixed(x: torch.Tensor) -> torch.Tensor:
    """Sums, products with constants, norms and concatenations along the last dimension."""
    weights = torch.tensor([[0.0, 1.0], [-1.0, 0.5]]).to(x)
    radius = (x * x).sum(-1, keepdim=True)
    turned = torch.cat([x[..., 1:], x[..., :1]], dim=-1)
    return x @ weights.T - radius * x + torch.tensor([0.1, 0.2]).to(x) * turned.sin() + x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    "system",
    [
        systems.get("double-well"),
        systems.get("limit-cycle"),
        systems.get("toggle-switch"),
        systems.get("ornstein-uhlenbeck"),
        System("mixed", 2, _mixed, 0.1, Box([-1.0, -1.0], [1.0, 1.0])),
    ],
    ids=lambda system: system.name,
)
def test_column_by_column_is_the_same_function(system):
    generator = torch.Generator().manual_seed(0)
    rows = [*system.domain.uniform(17, generator, dtype=torch.float64).T.contiguous()]
    graph = make_fx(_field(system))(*rows)
    columns = compiled._ByRow(graph).run(*rows)
    for one, other in zip(columns, _field(system)(*rows), strict=True):
        assert torch.allclose(one, other, rtol=1e-13, atol=1e-13)


def test_planar_drifts_leave_no_pass_over_the_whole():
    """The reason for it: after the rewriting, no operation of the limit cycle's drift sees a (rows, d) tensor."""
    rows = [torch.linspace(0, 8, 17), torch.linspace(0, 6, 17)]
    graph = make_fx(_field(systems.get("limit-cycle")))(*rows)
    split = make_fx(lambda *inputs: compiled._ByRow(graph).run(*inputs))(*rows)
    assert all(node.meta["val"].ndim < 2 for node in split.graph.nodes if "val" in node.meta)


@needs_compiler
def test_a_compiled_run_agrees_with_an_eager_one(monkeypatch):
    """Over a short time, within rounding; the same folds; the same bits for any chunk; compiled once per system."""
    system = systems.get("limit-cycle")
    plan = {"walkers": 512, "burn_in": 0.02, "snapshots": 2, "spacing": 0.013, "dt": 1e-3, "dtype": "float64"}
    eager = sample(system, "EM", "torch", **plan)
    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    fused = sample(system, "EM", "torch", **plan)
    assert not eager.metadata["engine"]["compiled"]
    assert fused.metadata["engine"]["compiled"]
    # the noise is laid out otherwise, so paths differ: compare laws of what happened in so short a time
    moved = [(s.states[:, -1] - s.states[:, 0]).norm(dim=-1) for s in (eager, fused)]
    spread = (moved[0].var() / 512 + moved[1].var() / 512).sqrt()
    assert abs(moved[0].mean() - moved[1].mean()) < 5 * spread + 0.05 * moved[0].mean()
    assert abs(len(eager.walls) - len(fused.walls)) < 6 * (len(eager.walls) + len(fused.walls) + 1) ** 0.5
    again = sample(system, "EM", "torch", chunk=1, **plan)
    assert torch.equal(again.states, fused.states)
    assert torch.equal(again.walls.displacement, fused.walls.displacement)
    known = compiled._KERNELS[system]
    assert list(known) == [("EM", False, 512, "float64")]


@needs_compiler
def test_a_stride_repeats_the_steps_of_the_method(monkeypatch):
    """One stride of the kernel against eight steps written out, same noise, walls and all."""
    from pyness import solvers
    from pyness.sampling import Plan
    from pyness.sampling.engines import Job
    from pyness.sampling.engines.torch.domain import Domain
    from pyness.sampling.engines.torch.methods import EulerHeun
    from pyness.sampling.engines.torch.stride import LENGTH

    system = systems.get("toggle-switch")
    plan = Plan(walkers=64, burn_in=0, snapshots=1, spacing=1, dt=0.1, dtype="float64")
    domain = Domain(system.domain, torch.float64, "cpu")
    method = EulerHeun(system, domain, torch.float64, "cpu")
    kernel, evaluations = compiled.compiled_stride(
        Job(system, solvers.parse("EulerHeun"), plan, None, 64), method, domain
    )
    assert evaluations == 2 * LENGTH
    generator = torch.Generator().manual_seed(0)
    x = system.domain.uniform(64, generator, dtype=torch.float64)
    noise = torch.randn(LENGTH * 2, 64, dtype=torch.float64, generator=generator)
    h = torch.tensor(0.1, dtype=torch.float64)
    after, touched, unfolded = kernel(h, x.T.contiguous(), noise)
    moved = torch.zeros(64, dtype=torch.float64)
    for k in range(LENGTH):
        y, _, _ = method(x, h, torch.sqrt(h) * noise[2 * k : 2 * k + 2].T, None)
        assert torch.allclose(unfolded[2 * k : 2 * k + 2].T, y, atol=1e-9)
        x = domain.restore(y)
        moved += (y - x).abs().sum(-1)
    assert torch.allclose(after.T, x, atol=1e-9)
    assert torch.allclose(touched, moved, atol=1e-9)
    assert bool((touched > 0).any())


def test_what_cannot_be_traced_runs_eagerly(monkeypatch):
    """A drift that looks at its values to decide."""

    def drift(x):
        return -x if bool((x.abs() < 1e9).all()) else -2 * x

    monkeypatch.setattr(compiled, "WORTHWHILE", 0)
    system = System("deciding", 1, drift, 0.1, Box([-1.0], [1.0]))
    samples = sample(system, "EM:dt=0.1", "torch", walkers=64, burn_in=0.5, snapshots=1, spacing=0.5)
    assert not samples.metadata["engine"]["compiled"]
    assert samples.states.shape == (64, 1, 1)

"""Whole systems: registered ones agree with torch, sources do not change with parameters, bad drifts are refused."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
import torch

import pyness
from pyness.errors import TranslationError
from pyness.sampling.engines.julia.translator import refuse_disagreement, translate


def points(system, count=50):
    return system.domain.uniform(count, torch.Generator().manual_seed(3), dtype=torch.float64)


def plain(drift, dim=2, diffusion=0.1):
    domain = pyness.Box([0.2] * dim, [1.7] * dim)
    return pyness.System(name="test", dim=dim, drift=drift, diffusion=diffusion, domain=domain)


@pytest.mark.parametrize("name", pyness.systems.names())
def test_registered_systems_agree_with_torch(name):
    system = pyness.systems.get(name)
    if system.dim > 100:
        with pytest.raises(TranslationError, match=r"scalar statements|no Julia translation"):
            translate(system)
        return
    translation = translate(system)
    x = points(system)
    refuse_disagreement("drift", x, translation.evaluate_drift(x.numpy()), system.drift(x), 1e-12, "")
    assert translation.additive == system.diffusion.additive
    found = torch.from_numpy(translation.evaluate_noise(x.numpy()))
    if translation.noise.ndim == 1:
        found = torch.diag_embed(found)
    if translation.rotation is not None:
        found = torch.from_numpy(translation.rotation) @ found
    D = 2 * system.diffusion(x)
    D = D if system.diffusion.kind == "matrix" else torch.diag_embed(D.expand(x.shape))
    np.testing.assert_allclose(found @ found.mT, D.expand(found.shape), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("double-well", {"D": 0.3, "c": 0.2}),
        ("limit-cycle", {"D": 0.2, "a": 0.2, "b": 0.3, "c": 10.0, "eps": 0.4}),
        ("toggle-switch", {"D": 0.03, "a": 2.0, "k": 3.0, "S": 1.0}),
        ("ornstein-uhlenbeck", {"A": [[2.0, 0.1, -0.4], [-0.6, 1.0, 0.5], [0.3, -0.9, 1.0]], "D": 1.0}),
    ],
)
def test_changed_parameters_keep_the_source(name, change):
    first, second = translate(pyness.systems.get(name)), translate(pyness.systems.get(name, **change))
    assert first.source == second.source
    assert not np.array_equal(first.parameters, second.parameters)
    x = points(pyness.systems.get(name))
    expected = pyness.systems.get(name, **change).drift(x)
    refuse_disagreement("drift", x, second.evaluate_drift(x.numpy()), expected, 1e-12, "")


def test_zeros_of_a_sparse_matrix_vanish():
    matrix = torch.zeros(30, 30, dtype=torch.float64)
    matrix[torch.arange(29), torch.arange(1, 30)] = torch.linspace(0.5, 1.5, 29, dtype=torch.float64)
    translation = translate(plain(lambda x: x @ matrix.to(x).mT - x, dim=30))
    operations = [n.op for n in (translation.graph.nodes[i] for i in translation.graph.live(list(translation.drift)))]
    assert operations.count("mul") == 29
    assert operations.count("add") == 0
    assert operations.count("sub") == 29
    assert translation.parameters.size == 30  # 29 entries and the noise


def test_common_subexpressions_appear_once():
    def drift(x):
        return torch.stack([torch.exp(x[..., 0] * x[..., 1]), 3 * torch.exp(x[..., 1] * x[..., 0])], dim=-1)

    assert translate(plain(drift)).source.count("= exp(") == 2  # one in each of the two methods


def test_source_text():
    source = translate(plain(lambda x: torch.where(x > 0, -2.5 * x**3, torch.zeros_like(x)))).source
    assert source.startswith(
        "function drift!(du, u, p, t)\n    T = eltype(u)\n    @inbounds begin\n        u1 = u[1]\n"
    )
    assert "ifelse(" in source
    assert "zero(T)" in source
    assert "2.5" not in source
    assert "du[2] = " in source
    assert "return SVector{2}(" in source


def test_constant_matrix_noise_is_made_diagonal():
    for D in ([[0.5, 0.2], [0.2, 0.4]], [[1.0, 1.0], [1.0, 1.0]]):
        translation = translate(plain(lambda x: -x, diffusion=D))
        amplitudes = translation.evaluate_noise(np.zeros((1, 2)))[0]
        Q = translation.rotation
        np.testing.assert_allclose(Q @ Q.T, np.eye(2), atol=1e-14)
        np.testing.assert_allclose((Q * amplitudes**2) @ Q.T, 2 * np.array(D), atol=1e-14)
    plainly = translate(plain(lambda x: -x, diffusion=[[0.5, 0.0], [0.0, 0.4]]))
    assert plainly.rotation is None
    np.testing.assert_allclose(plainly.evaluate_noise(np.zeros((1, 2)))[0] ** 2, [1.0, 0.8], rtol=1e-14)


def test_matrix_noise_is_written_column_major():
    def diffusion(x):
        rows = [torch.stack([2 + x[..., 0] ** 2, x[..., 1]], -1), torch.stack([x[..., 1], 3 + 0 * x[..., 0]], -1)]
        return torch.stack(rows, -2)

    translation = translate(plain(lambda x: -x, diffusion=diffusion))
    first, lower, last = re.search(
        r"return SMatrix\{2, 2\}\((\w+), (\w+), zero\(T\), (\w+)\)", translation.source
    ).groups()
    for target, value in (("1, 1", first), ("2, 1", lower), ("1, 2", "zero(T)"), ("2, 2", last)):
        assert f"du[{target}] = {value}\n" in translation.source


def test_state_dependent_noise():
    def diagonal(x):
        return 0.1 + 0.05 * torch.tanh(x) ** 2

    def matrix(x):
        a, b = x[..., 0], x[..., 1]
        off = 0.03 * torch.sin(a) * torch.cos(b)
        rows = [torch.stack([0.1 + 0.05 * torch.tanh(a), off], -1), torch.stack([off, 0.1 + 0.04 * b * b], -1)]
        return torch.stack(rows, -2)

    for diffusion in (diagonal, matrix):
        system = plain(lambda x: -x, diffusion=diffusion)
        translation = translate(system)
        x = points(system)
        expected = system.diffusion.noise_factor(x).numpy()
        np.testing.assert_allclose(translation.evaluate_noise(x.numpy()), expected, rtol=1e-12, atol=1e-15)
        assert not translation.additive


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if text in line)


def untranslatable(x):
    y = torch.sin(x)
    return y + torch.fft.fft(x).real


def branching(x):
    y = torch.cos(x)
    if x.mean() > 0:
        return y
    return -y


def noisy(x):
    return x + 0 * torch.randn(x.shape[-1:], generator=torch.Generator().manual_seed(0), dtype=x.dtype)


def sorting(x):
    index = x.argmax(-1, keepdim=True)
    return x - x.gather(-1, index)


def sorting_by_max(x):
    index = x.max(-1, keepdim=True).indices
    return x - torch.gather(x, -1, index)


def helped(x):
    return untranslatable(x)


@pytest.mark.parametrize(
    ("drift", "line", "operation"),
    [
        (untranslatable, line_of(untranslatable, "fft"), "aten._fft_r2c"),
        (helped, line_of(untranslatable, "fft"), "aten._fft_r2c"),
        (branching, line_of(branching, "if x"), "branch"),
        (noisy, line_of(noisy, "randn"), "random"),
        (sorting, line_of(sorting, "argmax"), "aten.argmax"),
        (sorting_by_max, line_of(sorting_by_max, "torch.gather"), "argmax"),
    ],
)
def test_a_refusal_names_the_operation_and_the_line(drift, line, operation):
    system = plain(lambda x: -x)
    system._drift = drift
    with pytest.raises(TranslationError) as refusal:
        translate(system)
    message = str(refusal.value)
    assert operation in message
    assert f"{__file__}:{line}" in message
    assert message.endswith("give System(julia=...) or use engine='torch'")
    assert "\n" not in message


def test_numbers_that_leave_torch_are_refused():
    def through_numpy(x):
        return torch.from_numpy(np.sin(x.detach().numpy())).to(x) - x

    with pytest.raises(TranslationError, match="another function at another point"):
        translate(plain(through_numpy))


def test_a_drift_too_large_for_scalar_code_is_refused():
    def all_pairs(x):
        apart = x[..., :, None] - x[..., None, :]
        return (torch.exp(-apart.abs()) * torch.sin(apart)).sum(-1)

    with pytest.raises(TranslationError, match=r"more than 20000 scalar statements; use engine='torch'"):
        translate(plain(all_pairs, dim=300))


def test_disagreement_shows_point_and_both_values():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    refuse_disagreement("drift", x, x, x, 1e-12, "mend it")
    with pytest.raises(TranslationError, match=r"at x = \[3, 4\] is \[3, 5\] in Julia and \[3, 4\] in torch; mend it"):
        refuse_disagreement("drift", x, np.array([[1.0, 2.0], [3.0, 5.0]]), x, 1e-12, "mend it")
    with pytest.raises(TranslationError, match="nan"):
        refuse_disagreement("drift", x, np.array([[1.0, np.nan], [3.0, 4.0]]), x, 1e-12, "mend it")

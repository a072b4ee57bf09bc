"""A System validates itself: one clear line for each way of writing it wrongly."""

from __future__ import annotations

import json
import math

import pytest
import torch

import pyness
from pyness.errors import InputError, SystemDefinitionError


def mine(**changes):
    arguments = {"name": "mine", "dim": 2, "drift": lambda x: -x, "diffusion": 0.1, **changes}
    return pyness.System(**arguments)


def test_defaults():
    system = mine()
    assert system.variables == ("x1", "x2")
    assert system.domain == pyness.Box([-1, -1], [1, 1], "open")
    assert system.window == (system.domain.low, system.domain.high)
    assert system.truth.epr is None
    assert repr(system) == "<System 'mine': d=2>"
    json.dumps(system.to_dict())


def test_drift_divergence_and_jacobian():
    system = mine(drift=lambda x: torch.stack([x[..., 0] * x[..., 1], -(x[..., 1] ** 3)], dim=-1))
    x = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    assert system.drift(x).tolist() == [[6.0, -27.0]]
    assert system.drift_divergence(x).tolist() == [3.0 - 27.0]
    assert system.drift_jacobian(x).tolist() == [[[3.0, 2.0], [0.0, -27.0]]]
    assert torch.equal(system.modified_drift(x), system.drift(x))


def test_modified_drift_subtracts_the_divergence_of_the_diffusion():
    system = mine(diffusion=lambda x: 1 + x**2)
    x = torch.tensor([[0.5, -0.2]], dtype=torch.float64)
    assert torch.allclose(system.modified_drift(x), -x - 2 * x)
    assert system.potential_scale == 1.0


def test_a_given_divergence_goes_wherever_the_diffusion_goes():
    """Through ``F_v``, its divergence, and the copies at other noise that the clouds of a landscape are drawn with."""
    calls = []

    def divergence(x):
        calls.append(x.shape)
        return 2 * x

    plain = mine(diffusion=lambda x: 1 + x**2)
    given = mine(diffusion=lambda x: 1 + x**2, diffusion_divergence=divergence)
    x = torch.tensor([[0.5, -0.2], [0.1, 0.7]], dtype=torch.float64)
    for change in (lambda s: s, lambda s: s.with_noise(3.0), lambda s: s.with_noise(3.0, modified=True)):
        mine_, theirs = change(given), change(plain)
        calls.clear()
        assert torch.allclose(mine_.diffusion.divergence(x), theirs.diffusion.divergence(x))
        assert torch.allclose(mine_.modified_drift(x), theirs.modified_drift(x))
        assert torch.allclose(mine_.drift_and_divergence(x)[1], theirs.drift_and_divergence(x)[1])
        assert len(calls) >= 3


def test_a_wrong_divergence_is_met_at_the_door():
    with pytest.raises(SystemDefinitionError, match=r"where that of diffusion is .*; give \(div D\)_i"):
        mine(diffusion=lambda x: 1 + x**2, diffusion_divergence=lambda x: x)


@pytest.mark.parametrize(
    ("diffusion", "scale"), [(0.1, 0.1), ([0.1, 0.1], 0.1), ([0.1, 0.2], 1.0), (lambda x: 0.1 + 0 * x, 1.0)]
)
def test_potential_scale_is_D_where_it_is_one_number(diffusion, scale):
    assert mine(diffusion=diffusion).potential_scale == scale


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dim": 0}, "dim is 0"),
        ({"dim": True}, "dim is True"),
        ({"dim": 2.0}, "dim is 2.0"),
        ({"drift": 3}, "drift is 3"),
        ({"drift": lambda x: 0}, "drift returned int"),
        ({"drift": lambda x: x[..., :1]}, "returned shape"),
        ({"drift": lambda x: x / 0}, "not finite at x ="),
        ({"drift": lambda x: torch.log(x)}, "not finite at x ="),
        ({"drift": lambda x: x[..., 5:6] + x}, "returned shape|failed"),
        ({"drift": lambda x: x @ torch.ones(3)}, "drift failed"),
        ({"drift": lambda x: x - x.mean(0)}, "depends on the batch|not finite|failed"),
        (
            {"drift": lambda x: torch.stack([x[:, 0], x[:, 1]], dim=1)},
            "drift failed on x of shape|depends on the batch",
        ),
        ({"drift": lambda x: -x.double()}, "turned torch.float32 into torch.float64"),
        ({"drift": lambda x: -x @ torch.eye(2, dtype=torch.float64)}, "drift failed on torch.float32"),
        ({"domain": pyness.Box([0], [1])}, "domain .* in dimension 2"),
        ({"domain": (0, 1)}, "domain"),
        ({"variables": ("x",)}, "variables"),
        ({"variables": ("x", "x")}, "distinct names"),
        ({"diffusion": -1.0}, "negative"),
        ({"diffusion": [[1.0, 0.3], [0.0, 1.0]]}, "not symmetric"),
        ({"diffusion": lambda x: x}, "negative .* at x ="),
    ],
)
def test_refusals_are_one_line_with_a_remedy(changes, words):
    with pytest.raises(SystemDefinitionError, match=words) as caught:
        mine(**changes)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(caught.value.remedy)


def test_a_drift_with_its_own_error_keeps_it_as_the_cause():
    def broken(x):
        raise KeyError("k7")

    with pytest.raises(SystemDefinitionError, match="KeyError: 'k7'") as caught:
        mine(drift=broken)
    assert isinstance(caught.value.__cause__, KeyError)


def test_validation_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    mine()
    assert torch.equal(before, torch.get_rng_state())


class TestStates:
    def test_good_states_pass_unchanged(self):
        x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))
        assert mine().check_states(x) is x

    def test_lists_and_integers_become_floating(self):
        assert mine().check_states([[1, 2]]).dtype == torch.get_default_dtype()

    @pytest.mark.parametrize(
        ("states", "words"),
        [
            (torch.zeros(5, 3), r"shape \(5, 3\) but system 'mine' has 2"),
            (torch.zeros(()), "shape"),
            (torch.zeros(0, 2), "nothing in them"),
            (
                torch.tensor([[0.0, 1.0], [math.nan, 0.0]]),
                r"1 of 2 states are NaN or infinite, the first at index \(1,\)",
            ),
            (torch.tensor([[math.inf, 0.0]]), "NaN or infinite"),
            ("states", "states of type str"),
            (object(), "states of type object"),
        ],
    )
    def test_refusals(self, states, words):
        with pytest.raises(InputError, match=words):
            mine().check_states(states)

    def test_states_behind_a_wall_are_refused_but_not_beyond_an_open_side(self):
        walled = mine(domain=pyness.Box([0, 0], [1, 1], "reflect"))
        with pytest.raises(InputError, match=r"1 states lie outside the domain, the first at index \(1,\)"):
            walled.check_states(torch.tensor([[0.5, 0.5], [1.5, 0.5]]))
        assert mine().check_states(torch.tensor([[50.0, -50.0]])).shape == (1, 2)

"""The potential metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

import pyness
from pyness.errors import InputError
from pyness.estimators.metrics import basins, potential_error

TRUTH = torch.tensor([0.0, 1.0, 2.0, 30.0], dtype=torch.float64)


def test_the_published_metric_by_hand():
    """Kept: U = 0, 1, 2. V = 5, 6.3, 6.9, 100 shifts by its minimum to 0, 1.3, 1.9."""
    found = potential_error(torch.tensor([5.0, 6.3, 6.9, 100.0], dtype=torch.float64), TRUTH, 1.0)
    assert found.points == 3
    assert found.rrmse == pytest.approx(math.sqrt((0.09 + 0.01) / 5))
    assert found.rmae == pytest.approx(0.4 / 3)
    mean = 0.2 / 3
    assert found.rrmse_best_shift == pytest.approx(math.sqrt((mean**2 + (0.3 - mean) ** 2 + (0.1 + mean) ** 2) / 5))


def test_a_spurious_low_value_outside_the_mask_shifts_only_the_published_metric():
    spurious = TRUTH.clone()
    spurious[3] = -4.0
    found = potential_error(spurious, TRUTH, 1.0)
    assert found.rrmse == pytest.approx(math.sqrt(3 * 16 / 5))
    assert found.rrmse_best_shift == pytest.approx(0, abs=1e-12)
    assert found.rrmse_weighted == pytest.approx(0, abs=1e-12)


def test_weights_are_the_density_and_can_be_given():
    V = torch.tensor([0.0, 1.0, 2.5, 30.0], dtype=torch.float64)
    w = torch.exp(-TRUTH[:3])
    d = torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64)
    d = d - (w * d).sum() / w.sum()
    by_hand = ((w * d * d).sum() / (w * TRUTH[:3] ** 2).sum()).sqrt().item()
    assert potential_error(V, TRUTH, 1.0).rrmse_weighted == pytest.approx(by_hand)
    even = potential_error(V, TRUTH, 1.0, weights=torch.ones(4))
    assert even.rrmse_weighted == pytest.approx(even.rrmse_best_shift)


def test_constants_do_not_matter_and_the_cap_counts_in_units_of_the_scale():
    V = TRUTH * 1.01
    assert potential_error(V + 7, TRUTH - 3, 1.0).rrmse == pytest.approx(potential_error(V, TRUTH, 1.0).rrmse)
    assert potential_error(V, TRUTH, 2.0).points == 4
    assert potential_error(V, TRUTH, 1.0, cap=1.5).points == 2
    assert potential_error(V, TRUTH, 1.0).rrmse == pytest.approx(0.01)


def test_basins_of_the_double_well_and_an_offset_between_them():
    system = pyness.systems.get("double-well")
    nodes = system.evaluation.nodes()
    truth = system.truth.potential(nodes)
    offset = torch.where(nodes[..., 0] > 1.5, 0.05, 0.0)
    found = basins(truth + offset, truth, 0.1)
    assert len(found) == 2
    wells = sorted(nodes[b.node][0].item() for b in found)
    assert wells == pytest.approx([0.5, 2.5], abs=0.05)
    right, left = sorted(found, key=lambda b: nodes[b.node][0].item(), reverse=True)
    measured = (right.free_energy - left.free_energy) - (right.free_energy_true - left.free_energy_true)
    assert measured == pytest.approx(0.05, rel=1e-4)  # ridge nodes may change side
    assert left.free_energy_true == pytest.approx(0.1 * math.log(2), rel=0.02)


def test_ripples_below_the_prominence_are_no_basins():
    x = torch.linspace(-3, 3, 600, dtype=torch.float64)
    wavy = x * x + 0.2 * torch.sin(20 * x)
    assert len(basins(wavy, wavy, 1.0)) == 1
    assert len(basins(wavy, wavy, 0.05)) > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((TRUTH[:3], TRUTH, 1.0), "shapes"),
        ((TRUTH * math.nan, TRUTH, 1.0), "NaN"),
        ((TRUTH, TRUTH, 0.0), "scale"),
        ((torch.zeros(3), torch.zeros(3), 1.0), "constant"),
    ],
)
def test_refusals(arguments, words):
    with pytest.raises(InputError, match=words):
        potential_error(*arguments)


def test_refuses_bad_cap_and_weights():
    with pytest.raises(InputError, match="cap"):
        potential_error(TRUTH, TRUTH, 1.0, cap=-1.0)
    with pytest.raises(InputError, match="weights"):
        potential_error(TRUTH, TRUTH, 1.0, weights=torch.ones(3))
    with pytest.raises(InputError, match="weights"):
        potential_error(TRUTH, TRUTH, 1.0, weights=-torch.ones(4))

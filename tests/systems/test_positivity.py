"""A diffusion that turns negative in a small part of the box is found, and the place named."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import SystemDefinitionError
from pyness.systems.positivity import lowest_diffusion

REMEDY = r"give D >= 0 \(sigma sigma\^T / 2\) in the whole box, or a smaller box$"
BOX = pyness.Box([0.0, 0.0], [3.0, 3.0], "open")


def dip(x: torch.Tensor, depth: float) -> torch.Tensor:
    """1, less ``depth`` in a spot at (2.2, 0.7) that covers a thousandth of the box."""
    away = (x - torch.tensor([2.2, 0.7]).to(x)).square().sum(-1, keepdim=True)
    return 1 - depth * torch.exp(-away / (2 * 0.05**2))


def as_matrix(x: torch.Tensor) -> torch.Tensor:
    """The same value as the lower eigenvalue of a matrix with fixed axes."""
    low = dip(x, 1.2)[..., 0]
    return torch.stack([1.5 + 0.5 * low, 1.5 - 0.5 * low, 1.5 - 0.5 * low, 1.5 + 0.5 * low], -1).unflatten(-1, (2, 2))


def test_the_lowest_place_is_found():
    system = pyness.System("dip", 2, lambda x: -x, lambda x: dip(x, 0.5), BOX)
    value, _, where = lowest_diffusion(system.diffusion, BOX)
    assert value == pytest.approx(0.5, abs=1e-3)
    assert (where - torch.tensor([2.2, 0.7])).norm().item() < 0.01


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: dip(x, 1.2), rf"diffusion is negative \(-0\.\d+\) at x = \[2\.\d+, 0\.\d+\]; {REMEDY}"),
        (as_matrix, r"diffusion matrix has eigenvalue -0\.\d+ at x = \[2\.\d+, 0\.\d+\]"),
        (lambda x: (x - 0.001).expand(x.shape), r"diffusion is negative \(-0\.001\)"),
        # over half of the box, where the first random points find it
        (lambda x: x - 1.5, rf"diffusion is negative \(-\d\.\d+\) at x = .*; {REMEDY}"),
        (lambda x: torch.diag_embed(x - 1.5), r"eigenvalue -\d\.\d+ at x = .* in the whole box, or a smaller box$"),
    ],
)
def test_loss_of_positivity_is_refused(function, words):
    with pytest.raises(SystemDefinitionError, match=words):
        pyness.System("dip", 2, lambda x: -x, function, BOX)


def test_not_a_number_is_refused():
    with pytest.raises(SystemDefinitionError, match=r"not finite at x = \[\d.*in the whole box, or a smaller box$"):
        pyness.System("root", 2, lambda x: -x, lambda x: torch.sqrt(x - 0.0005), BOX)


def test_touching_zero_is_no_negative_diffusion():
    pyness.System("demographic", 2, lambda x: 1 - x, lambda x: x, BOX)

"""Which walls mirror walkers without letting probability through, and which are refused."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import SystemDefinitionError

SQUARE = ([0.0, 0.0], [1.0, 1.0])


def system(diffusion, walls=(), boundary="reflect"):
    return pyness.System("s", 2, lambda x: -x, diffusion, pyness.Box(*SQUARE, boundary, walls))


def test_scalar_noise_goes_with_every_wall():
    system(0.1, [((1.0, 2.0), 2.0)])
    system((0.1, 0.1), [((1.0, 2.0), 2.0)])
    system(lambda x: 0.1 + x.square().sum(-1, keepdim=True), [((1.0, 2.0), 2.0)])


def test_diagonal_noise_goes_with_sides_and_with_walls_of_one_coordinate():
    system((0.1, 0.3))
    system((0.1, 0.3), [((0.0, -2.0), -0.2)])
    system(lambda x: 0.1 + x.square())
    in_three = pyness.Box([0.0] * 3, [1.0] * 3, "open", [((1.0, 0.0, 1.0), 1.5)])
    pyness.System("s", 3, lambda x: -x, (0.1, 0.7, 0.1), in_three)


@pytest.mark.parametrize(
    ("diffusion", "walls", "words"),
    [
        ((0.1, 0.3), [((1.0, 2.0), 2.0)], r"\+1 x1 \+2 x2 <= 2 is not its no-flux condition"),
        (lambda x: 0.1 + x.square(), [((1.0, 0.0), 0.9), ((1.0, -1.0), 0.5)], r"\+1 x1 -1 x2 <= 0.5"),
        (((0.2, 0.05), (0.05, 0.1)), (), "wall x1 = 0 is not its no-flux"),
        (lambda x: torch.diag_embed(1 + x) + 0.1, (), "leans sideways at x = "),
    ],
)
def test_oblique_reflection_is_refused(diffusion, walls, words):
    with pytest.raises(SystemDefinitionError, match=words) as caught:
        system(diffusion, walls)
    assert "\n" not in str(caught.value)


def test_open_sides_take_any_noise():
    system(((0.2, 0.05), (0.05, 0.1)), boundary="open")


def test_a_wall_may_cut_where_the_diffusion_is_not_defined_outside():
    box = pyness.Box(*SQUARE, "reflect", [((1.0, 1.0), 0.6)])
    pyness.System("s", 2, lambda x: -x, lambda x: torch.sqrt(0.7 - x.sum(-1, keepdim=True)), box)

"""The box: its corners, boundaries, points, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from pyness import Box
from pyness.errors import SystemDefinitionError


def test_one_boundary_for_all_or_one_each():
    box = Box([0, -1, 2], [1, 1, 5], ["reflect", "periodic", "open"])
    assert (box.dim, box.width) == (3, (1.0, 2.0, 3.0))
    assert (box.reflecting, box.periodic, box.axes("open")) == ((0,), (1,), (2,))
    assert Box([0, 0], [1, 1], "reflect").boundary == ("reflect", "reflect")
    assert Box([0], [1]).boundary == ("open",)


def test_is_a_value():
    assert Box([0, 0], [1, 2]) == Box((0.0, 0.0), (1.0, 2.0), ("open", "open"))
    assert hash(Box([0], [1])) == hash(Box([0.0], [1.0]))
    with pytest.raises(AttributeError):
        Box([0], [1]).low = (3.0,)


def test_survives_its_dictionary():
    box = Box([0, -1], [1, 1], ["reflect", "periodic"])
    assert Box(**box.to_dict()) == box


def test_uniform_fills_the_box_and_repeats_with_its_generator():
    box = Box([-1, 10], [1, 14])
    x = box.uniform(20_000, torch.Generator().manual_seed(5), dtype=torch.float64)
    assert x.shape == (20_000, 2)
    assert x.dtype == torch.float64
    assert torch.equal(x, box.uniform(20_000, torch.Generator().manual_seed(5), dtype=torch.float64))
    # five standard errors of the mean of a uniform law: width / sqrt(12 n)
    for axis, (middle, width) in enumerate([(0.0, 2.0), (12.0, 4.0)]):
        assert abs(x[:, axis].mean().item() - middle) < 5 * width / math.sqrt(12 * 20_000)
    assert bool(box.contains(x).all())


def test_contains_asks_walls_and_rings_but_not_open_sides():
    box = Box([0, 0, 0], [1, 1, 1], ["reflect", "periodic", "open"])
    x = torch.tensor([[0.5, 0.5, 9.0], [1.1, 0.5, 0.5], [0.5, -0.1, 0.5], [1.0, 0.0, -5.0]])
    assert box.contains(x).tolist() == [True, False, False, True]
    assert box.contains(x.reshape(2, 2, 3)).shape == (2, 2)


def test_contains_forgives_the_rounding_of_single_precision():
    box = Box([0.0], [0.1], "reflect")
    rounded = torch.tensor([[0.1]], dtype=torch.float32)
    assert rounded.double().item() > 0.1
    assert bool(box.contains(rounded).all())
    assert not bool(box.contains(torch.tensor([[0.1001]])).all())


@pytest.mark.parametrize(
    ("low", "high", "boundary", "words"),
    [
        ([0, 0], [1], "open", "2 and 1 coordinates"),
        ([], [], "open", "0 and 0 coordinates"),
        ([0, 1], [1, 1], "open", r"box side 1 is \[1.0, 1.0\]"),
        ([0], [-1], "open", "box side 0"),
        ([0], [math.inf], "open", "box side 0"),
        ([math.nan], [1], "open", "box side 0"),
        (["a"], [1], "open", "not sequences of numbers"),
        (0, 1, "open", "not sequences of numbers"),
        ([0], [1], "mirror", "unknown boundary 'mirror'"),
        ([0, 0], [1, 1], ["open"], "1 boundary conditions for 2"),
    ],
)
def test_refusals_name_the_value_and_a_remedy(low, high, boundary, words):
    with pytest.raises(SystemDefinitionError, match=words) as caught:
        Box(low, high, boundary)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


class TestLinearWalls:
    TRIANGLE = Box([0, 0], [1, 1], "reflect", [((2.0, 2.0), 2.0)])

    def test_normals_follow_the_numbers_of_the_faces(self):
        normals = self.TRIANGLE.normals()
        half = math.sqrt(0.5)
        assert normals.tolist() == [[-1, 0], [1, 0], [0, -1], [0, 1], pytest.approx([half, half])]
        assert self.TRIANGLE.linear()[1].item() == pytest.approx(half)
        assert self.TRIANGLE.walled
        assert Box([0], [1], "open", [((-1.0,), 0.0)]).walled
        assert not Box([0], [1]).walled

    def test_points_are_drawn_and_held_within(self):
        x = self.TRIANGLE.uniform(20_000, torch.Generator().manual_seed(1), dtype=torch.float64)
        assert x.shape == (20_000, 2)
        assert bool((x.sum(-1) <= 1).all())
        # the mean of a uniform law on the triangle is 1/3, its variance 1/18
        assert (x.mean(0) - 1 / 3).abs().max().item() < 5 / math.sqrt(18 * 20_000)
        assert self.TRIANGLE.contains(torch.tensor([[0.2, 0.2], [0.7, 0.7], [0.5, 0.5]])).tolist() == [
            True,
            False,
            True,
        ]

    def test_survives_its_dictionary(self):
        assert Box(**self.TRIANGLE.to_dict()) == self.TRIANGLE
        assert "walls" not in Box([0], [1]).to_dict()
        assert hash(self.TRIANGLE) == hash(Box(**self.TRIANGLE.to_dict()))

    @pytest.mark.parametrize(
        ("boundary", "walls", "words"),
        [
            ("reflect", [((1.0, 2.0, 3.0), 1.0)], "linear wall 0 has the coefficients"),
            ("reflect", [((1.0, 1.0), 1.0), ((0.0, 0.0), 1.0)], "linear wall 1 .* not all zero|linear wall 1"),
            ("reflect", [((1.0, math.nan), 1.0)], "finite coefficients"),
            ("reflect", [1.0], r"linear wall 0 is 1.0.* give \(a, b\)"),
            (["periodic", "open"], [((1.0, 1.0), 1.0)], "crosses the periodic coordinate 0"),
            ("reflect", [((1.0, 1.0), -0.5)], "none of 1000 points"),
        ],
    )
    def test_refusals(self, boundary, walls, words):
        with pytest.raises(SystemDefinitionError, match=words) as caught:
            Box([0, 0], [1, 1], boundary, walls)
        assert "\n" not in str(caught.value)

"""Numbers that options must be, and shares in words."""

from __future__ import annotations

import math

import pytest

from pyness.errors import InputError
from pyness.numbers import check_number, check_whole, percent


@pytest.mark.parametrize("value", [0, 2.0, True, "3", None])
def test_whole_numbers_are_asked_for(value):
    check_whole("walkers", 1)
    with pytest.raises(InputError, match=r"walkers is .*; give a whole number of at least 1"):
        check_whole("walkers", value)


@pytest.mark.parametrize("value", [0.0, 1.0, -3, math.nan, math.inf, True, "0.5", None])
def test_numbers_in_a_range_are_asked_for(value):
    check_number("held_out", 0.5, above=0.0, below=1.0)
    with pytest.raises(InputError, match=r"held_out is .*; give a number greater than 0 and less than 1"):
        check_number("held_out", value, above=0.0, below=1.0)


@pytest.mark.parametrize(
    ("share", "told"),
    [(0.0868, "8.7 %"), (0.000123, "0.012 %"), (0.5, "50 %"), (0.994, "99 %"), (1.0, "100 %"), (12.3, "1230 %")],
)
def test_shares_are_no_powers_of_ten(share, told):
    assert percent(share) == told

"""Devices that can be used here."""

from __future__ import annotations

from typing import Any

import torch

from pyness.errors import InputError

__all__ = ["usable"]


def usable(device: Any) -> torch.device:
    """The device of that name.

    Raises:
        InputError: there is none here, with what torch says of it.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} cannot be used: {(str(error).splitlines() or ['?'])[0]}",
            "give 'cpu' or a device of yours",
        ) from error
    return found

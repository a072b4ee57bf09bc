"""Which networks there are, and how one is made from what a file says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pyness.errors import InputError, UnknownNameError
from pyness.numbers import check_number, check_whole
from pyness.score.attention import AttentionScore
from pyness.score.contacts import ContactScore, check_suits, suits
from pyness.score.dense import DenseScore, fits
from pyness.score.energy import EnergyScore
from pyness.score.local_transformer import LocalTransformer
from pyness.systems import ParticleSystem, System

__all__ = ["ARCHITECTURES", "KEYWORDS", "build", "describe"]

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "dense": DenseScore,
    "contacts": ContactScore,
    "attention": AttentionScore,
    "local-transformer": LocalTransformer,
}
#: Keywords of each architecture that can be given.
KEYWORDS = {
    "dense": ("width", "depth", "gradient"),
    "contacts": ("order", "hidden", "width", "rounds", "pasts"),
    "attention": ("radius", "channels", "hidden", "width", "equivariant", "gradient"),
    "local-transformer": ("neighbours", "width", "blocks", "heads"),
}


def describe(system: System, arch: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture to use and its keywords, those given and known to it.

    Raises:
        UnknownNameError: no such architecture.
        InputError: one for particles on a plain system, keywords it does not have, sizes that are none.
    """
    if arch is None:
        arch = "dense" if fits(system) else "contacts" if suits(system) and not given.get("gradient") else "attention"
    if not isinstance(arch, str) or arch not in ARCHITECTURES:
        raise UnknownNameError.of("arch", str(arch), ARCHITECTURES)
    if arch != "dense" and not (isinstance(system, ParticleSystem) and system.n_particles > 1):
        raise InputError(f"arch is {arch!r} for {system.name!r}", "give 'dense': it has no particles to attend to")
    if arch == "contacts":
        check_suits(system)
    asked = {key: value for key, value in given.items() if value is not None}
    for key in asked:
        if key not in KEYWORDS[arch]:
            owners = " or ".join(repr(name) for name, own in KEYWORDS.items() if key in own)
            remedy = f"it has {', '.join(KEYWORDS[arch])}; {owners} has it"
            raise InputError(f"{key} is {asked[key]!r} and {arch!r} has none", remedy)
        if key in ("gradient", "equivariant", "pasts"):
            if not isinstance(asked[key], bool):
                raise InputError(f"{key} is {asked[key]!r}", "give True or False")
        elif key == "radius":
            check_number(key, asked[key], above=0)
        else:
            check_whole(key, asked[key])
    if arch == "attention" and (radius := AttentionScore.reach(system, asked.get("radius"))) is not None:
        # what it has learnt is of this radius, whatever system it is used on
        asked["radius"] = radius
    return {"arch": arch, **asked}


def build(system: System, description: Mapping[str, Any], shift: str, seed: int = 0) -> nn.Module:
    """The network that ``describe`` described, with weights drawn from ``seed``."""
    keywords = {key: value for key, value in description.items() if key != "arch"}
    kind = ARCHITECTURES[description["arch"]]
    if kind is AttentionScore and keywords.pop("gradient", False):
        kind = EnergyScore
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(system, shift, **keywords)

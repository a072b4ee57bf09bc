"""In what portions a run is carried through: blocks of walkers, rounds of snapshots, and what they start from.

All of it depends on the system and the plan alone, never on the machine or the clock.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from pyness.errors import InputError
from pyness.sampling.identity import equations
from pyness.sampling.plan import Plan
from pyness.sampling.samples import Samples
from pyness.systems import ParticleSystem, System
from pyness.systems.particle_checks import STARTS

__all__ = ["Round", "block_rows", "given_start", "rounds", "start_kind", "time_before"]

# rows of a block: enough to fill the vector units, few enough that two cores share a small run
_BLOCK = 2560
_ALIGNMENT = 64
#: Particles of a block, and particle-steps of a round: about a minute, which is what an interruption can cost.
_PARTICLES, _ROUND = 4096, 250_000_000
#: On a device all of these are so many times as large: it has thousands of cores, and every launch costs.
_WIDER = 256


@dataclass(frozen=True)
class Round:
    """Snapshots that are taken of all walkers before any walker goes on.

    Attributes:
        first: number of its first snapshot.
        begin: time at which it begins.
        plan: the plan of this round; only the first has a burn-in.
    """

    first: int
    begin: float
    plan: Plan

    @property
    def snapshots(self) -> int:
        return self.plan.snapshots


def _wider(plan: Plan) -> int:
    return 1 if torch.device(plan.device).type == "cpu" else _WIDER


def block_rows(system: System, plan: Plan) -> int:
    """Rows of every block: of few particles or plain systems many, of many particles one."""
    walkers, wider = plan.walkers, _wider(plan)
    particles = system.n_particles if isinstance(system, ParticleSystem) else 1
    if particles > 2:
        blocks = -(-walkers // max(1, wider * _PARTICLES // particles))
        # an even number for two cores
        blocks += walkers > 1 and wider == 1 and blocks % 2
        return -(-walkers // blocks)
    blocks = -(-walkers // (wider * _BLOCK))
    if walkers > wider * _BLOCK // 4:
        blocks += blocks % 2
    rows = -(-walkers // blocks)
    # the last block wastes little
    return -(-rows // _ALIGNMENT) * _ALIGNMENT


def rounds(system: System, plan: Plan, rows: int) -> list[Round]:
    """One round; of large particle systems several, so that snapshots reach the store while the run goes on."""
    together = plan.snapshots
    if isinstance(system, ParticleSystem):
        steps = plan.spacing / plan.dt if plan.dt else 1000.0
        together = max(1, min(plan.snapshots, int(_wider(plan) * _ROUND / (rows * system.n_particles * steps))))
    out = []
    for first in range(0, plan.snapshots, together):
        count = min(together, plan.snapshots - first)
        part = dataclasses.replace(plan, snapshots=count)
        if first:
            part = dataclasses.replace(part, burn_in=0.0, burn_in_dt=None)
        out.append(Round(first, plan.burn_in + first * plan.spacing if first else 0.0, part))
    return out


def start_kind(system: System, start: Any = None, *others: str) -> str:
    """How start states are drawn: as asked, or as the system recommends.

    Args:
        others: what else could have been given.

    Raises:
        InputError: no kind that the system has.
    """
    particles = isinstance(system, ParticleSystem)
    if start is None:
        return system.start if particles else "uniform"
    kinds = STARTS if particles else ("uniform",)
    if start not in kinds:
        *first, last = [*map(repr, kinds), *others]
        raise InputError(f"start is {start!r}", f"give {', '.join(first)} or {last}" if first else f"give {last}")
    return start


def given_start(system: System, plan: Plan, start: Any) -> torch.Tensor | str:
    """The start states that were given, checked, on the CPU, or the kind of those that are drawn.

    Raises:
        InputError: neither a kind there is nor states of this system.
    """
    if start is None or isinstance(start, str):
        return start_kind(system, start, "a tensor (walkers, d)", "samples")
    if isinstance(start, Samples):
        boxes = [s.box for s in (system, start.system) if isinstance(s, ParticleSystem)]
        if len(boxes) == 2 and boxes[0].to_dict() != boxes[1].to_dict():
            theirs, mine = (" x ".join(f"{w:.6g}" for w in box.width) for box in reversed(boxes))
            raise InputError(
                f"start is samples of a box {theirs}, system {system.name!r} has {mine}", "give samples of this system"
            )
        return system.check_states(start.states[:, -1]).cpu()
    try:
        start = torch.as_tensor(start)
    except (RuntimeError, TypeError, ValueError):
        raise InputError(f"start is {start!r}", "give a kind of start, a tensor (walkers, d) or samples") from None
    states = system.check_states(start)
    if states.ndim != 2 or states.shape[0] != plan.walkers:
        raise InputError(
            f"start has shape {tuple(states.shape)}", f"give ({plan.walkers}, {system.dim}), 'uniform' or samples"
        )
    return states.cpu()


def time_before(system: System, start: Any) -> float:
    """For how long the walkers of ``start`` have been followed, where they are samples of the same equations."""
    if not isinstance(start, Samples) or start.metadata.get("equations") != equations(system):
        return 0.0
    return start.before + start.times[-1].item()

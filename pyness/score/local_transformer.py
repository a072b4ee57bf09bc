"""The published network for phase separation: each particle with its nearest neighbours as tokens of a transformer.

Boffi and Vanden-Eijnden, PNAS 121, e2318106121 (2024); active_matter.md, section 8. Kept for comparison: each particle
is embedded again for every neighbour it has, and the score jumps where the last two neighbours change places.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from pyness.errors import InputError
from pyness.sampling import Samples
from pyness.score.shift import shift_with_terms
from pyness.systems import ParticleSystem
from pyness.systems.neighbours import minimum_image, wrapped

__all__ = ["LocalTransformer"]

HIDDEN_LAYERS = 4


def _mlp(first: int, width: int, last: int, hidden: int = HIDDEN_LAYERS) -> nn.Sequential:
    sizes = [first, *[width] * hidden, last]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class _Block(nn.Module):
    """``LN(y + attention(y))``, then ``LN(y + MLP(y))``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.mlp = _mlp(width, width, width, hidden=1)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        def split(t: torch.Tensor) -> torch.Tensor:
            return t.unflatten(-1, (self.heads, -1)).transpose(-2, -3)

        q, k, v = split(self.query(y)), split(self.key(y)), split(self.value(y))
        weight = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
        y = self.norms[0](y + self.out((weight @ v).transpose(-2, -3).flatten(-2)))
        return self.norms[1](y + self.mlp(y))


class LocalTransformer(nn.Module):
    """Score of the activities from the ``neighbours`` nearest particles and the particle itself.

    Exact under permutations, translations and across the seams of the box; not under rotations.

    Args:
        width: of the tokens and of all hidden layers.

    Raises:
        InputError: more neighbours than other particles, positions with noise of their own, species, a width that
            the heads do not divide.
    """

    def __init__(
        self,
        system: ParticleSystem,
        shift: str,
        neighbours: int = 64,
        width: int = 256,
        blocks: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if not 0 < neighbours < system.n_particles:
            raise InputError(
                f"{neighbours} neighbours of {system.n_particles} particles",
                f"give neighbours of at most {system.n_particles - 1}",
            )
        if system.noise > 0 or system.species is not None:
            raise InputError(
                "'local-transformer' learns the score of the activities alone, without species", "take 'attention'"
            )
        if width % (2 * heads):
            raise InputError(f"width is {width!r} with {heads} heads", f"give a multiple of {2 * heads}")
        self.system, self.shift, self.neighbours = system, shift, neighbours
        self.register_buffer("score_g", torch.ones(()))
        self.place = _mlp(system.space_dim, width, width // 2)
        self.drive = _mlp(system.activity_dim, width, width // 2)
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(blocks)))
        self.read = _mlp(width, width, system.activity_dim)

    def calibrate(self, samples: Samples) -> None:
        """Nothing is standardised in the published network."""

    def _tokens(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Particles of each token ``(rows, 1 + K)``, itself first, and displacements to it ``(rows, 1 + K, d)``."""
        from scipy.spatial import cKDTree

        periods = np.array([p or 0.0 for p in self.system.periods])
        found = []
        for row, one in enumerate(x.detach().double().cpu().numpy()):
            at = wrapped(one, periods)
            tree = cKDTree(at, boxsize=periods if (periods > 0).any() else None)
            index = tree.query(at, k=self.neighbours + 1)[1] + row * len(one)
            found.append(torch.from_numpy(index))
        index = torch.cat(found).to(x.device)
        flat = x.reshape(-1, x.shape[-1])
        away = flat[index] - flat.unsqueeze(1)
        parts = [minimum_image(c, p) for c, p in zip(away.unbind(-1), self.system.periods, strict=True)]
        return index, torch.stack(parts, dim=-1)

    def _readout(self, own: torch.Tensor, others: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """``(rows, components)`` from the own activity, those of the others ``(rows, K, c)``, and embedded places."""
        drive = self.drive(torch.cat([own.unsqueeze(1), others], dim=1))
        return self.score_g * self.read(self.blocks(torch.cat([place, drive], dim=-1))[:, 0])

    def _inputs(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, g = self.system.split(states)
        index, away = self._tokens(x)
        rows = g.reshape(-1, g.shape[-1]).to(self.score_g)
        return rows, rows[index[:, 1:]], self.place(away.to(self.score_g))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """The score ``(n, dim)`` at ``states: (n, dim)``, 0 for positions."""
        states = states.double()
        known, _ = shift_with_terms(self.system, self.shift, states, None)
        x, g = self.system.split(states)
        m = self._readout(*self._inputs(states))
        return known.to(m) + self.system.join(torch.zeros_like(x).to(m), m.reshape(g.shape))

    def with_terms(
        self, states: torch.Tensor, generator: torch.Generator | None = None, probes: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The score and ``d_i (D s)_i``, exact: one derivative of every token set for each component."""
        system, states = self.system, states.double()
        x, g = system.split(states)
        known, terms = shift_with_terms(system, self.shift, states, None)
        own, others, place = self._inputs(states)
        slopes = []
        for axis in range(own.shape[1]):
            direction = torch.zeros_like(own)
            direction[:, axis] = 1.0
            m, slope = torch.func.jvp(lambda a: self._readout(a, others, place), (own,), (direction,))
            slopes.append(slope[:, axis])
        t_g = system.activity.rate * torch.stack(slopes, dim=-1).reshape(g.shape)
        zero = torch.zeros_like(x).to(m)
        return known.to(m) + system.join(zero, m.reshape(g.shape)), terms.to(m) + system.join(zero, t_g)

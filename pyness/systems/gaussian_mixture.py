"""Two Gaussians in twelve dimensions and a rotation: density, potential and entropy production are known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.box import Box
from pyness.systems.diffusion import Diffusion
from pyness.systems.registry import register
from pyness.systems.system import System
from pyness.systems.truth import Truth

MEANS = (
    (1.2, 2.0, 0.6, 1.5, 0.9, 1.5, 1.5, 0.9, 1.2, 1.2, 0.5, 1.8),
    (1.8, 1.4, 0.8, 0.9, 0.9, 1.5, 2.0, 1.0, 1.6, 1.0, 0.7, 1.4),
)
VARIANCES = (0.02, 0.04)
DIM = 12


def rotation_matrix() -> torch.Tensor:
    """``(M - M^T) / 2`` with ``M_ij = frac(phi (12 i + j + 1))``, ``phi`` the golden ratio less 1, ``(12, 12)``.

    The published matrix has ``M`` uniform on [0, 1] from a random generator; these are numbers of the same law that
    are the same everywhere, ``|A|_F = 2.078``.
    """
    count = torch.arange(1, DIM * DIM + 1, dtype=torch.float64).reshape(DIM, DIM)
    uniform = torch.frac(count * ((math.sqrt(5) - 1) / 2))
    return (uniform - uniform.mT) / 2


@register("gaussian-mixture-12d")
def gaussian_mixture(
    D: float = 0.1, rotation: float | Sequence[Sequence[float]] = 1.0, weights: Sequence[float] = (0.4, 0.6)
) -> System:
    """``F = (1 - A) D grad log p``, ``A^T = -A``, with ``p = w1 N(mu1, 0.02) + w2 N(mu2, 0.04)`` for every ``D``.

    ``v = -D A grad log p`` and ``e_p = D E|A grad log p|^2``, 35 ``D |A|_F^2`` were the components apart. ``rotation``
    is a factor of a fixed ``A`` (0 is equilibrium), or ``A`` itself, antisymmetric and 12 x 12. ``D`` only sets the
    clock: walkers change components with a relaxation time of some forty ``1 / D``, which the plan covers.

    Raises:
        SystemDefinitionError: weights that are not positive or do not sum to 1, an ``A`` that is not antisymmetric.
    """
    Diffusion(D, DIM)  # refuse a bad D before the plan is made of it
    share = _weights(weights)
    A = _rotation(rotation)
    means, variance = torch.tensor(MEANS, dtype=torch.float64), torch.tensor(VARIANCES, dtype=torch.float64)
    # with r the share of the first component, log(r / (1 - r)) is quadratic and grad log p = r c1 + (1 - r) c2 - a(r) x
    tight, wide = (1 / variance).tolist()
    heights = torch.log(share) - 0.5 * DIM * torch.log(variance) - 0.5 * (means * means).sum(-1) / variance
    pull = means / variance.unsqueeze(-1)
    offset = (heights[0] - heights[1]).item()
    turned = torch.eye(DIM, dtype=torch.float64) - A

    def first_share(x: torch.Tensor) -> torch.Tensor:
        logit = offset + x @ (pull[0] - pull[1]).to(x) - 0.5 * (tight - wide) * (x * x).sum(-1)
        return torch.sigmoid(logit).unsqueeze(-1)

    def pulled(x: torch.Tensor, y: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        r, c = first_share(x), c.to(x)
        return c[1] + r * (c[0] - c[1]) - (wide + (tight - wide) * r) * y

    def score(x: torch.Tensor) -> torch.Tensor:
        return pulled(x, x, pull)

    def drift(x: torch.Tensor) -> torch.Tensor:
        # D (1 - A) grad log p, the matrix taken into the constants
        return D * pulled(x, x @ turned.to(x).mT, pull @ turned.mT)

    def potential(x: torch.Tensor) -> torch.Tensor:
        gaps = [((x - mean.to(x)) ** 2).sum(-1) for mean in means]
        peaks = (torch.log(share) - 0.5 * DIM * torch.log(variance)).tolist()
        return -D * torch.logaddexp(*(h - 0.5 / s * gap for h, s, gap in zip(peaks, VARIANCES, gaps, strict=True)))

    def draw(count: int, generator: torch.Generator | None = None) -> torch.Tensor:
        which = torch.multinomial(share, count, replacement=True, generator=generator)
        noise = torch.randn(count, DIM, generator=generator, dtype=torch.float64)
        return means[which] + variance[which].sqrt().unsqueeze(-1) * noise

    return System(
        name="gaussian-mixture-12d",
        dim=DIM,
        drift=drift,
        diffusion=D,
        # two standard deviations of the wider component beyond both means: a fifth of the walkers begin in the first
        domain=Box((means.amin(0) - 0.4).tolist(), (means.amax(0) + 0.4).tolist(), "open"),
        parameters={"D": D, "rotation": rotation if isinstance(rotation, int | float) else A.tolist(),
                    "weights": share.tolist()},
        # nearly four relaxation times of the weights (40 / D each), at the step of the rest: the first component, which
        # produces twice the entropy of the second, has 0.366 at four times this step, and at twice still too little
        solver=f"EulerHeun:dt={0.001 / D:.6g}",
        plan={"walkers": 10_000, "burn_in": 150 / D, "snapshots": 40, "spacing": 0.05 / D},
        truth=Truth(
            epr=D * mean_square_rotated_score(A, share),
            potential=potential,
            score=score,
            draw=draw,
            source="stated density; e_p = D E|A grad log p|^2 by quadrature",
        ),
        source="Zhao, Zhang, Li, EPR-Net, arXiv:2301.01946",
    )  # fmt: skip


def mean_square_rotated_score(A: torch.Tensor, weights: torch.Tensor) -> float:
    """``E|A grad log p|^2`` by a quadrature in two dimensions, to rounding.

    With ``t`` along the line through the means and ``y`` across it, ``grad log p = -(b e + a y)`` where ``a``, ``b``
    depend on ``t`` and ``|y|`` alone; the cross term is odd in ``y`` and ``|A y|^2`` averages over directions.
    """
    from scipy.special import roots_genlaguerre, roots_hermite

    mu = np.array(MEANS)
    gap = mu[1] - mu[0]
    L = float(np.linalg.norm(gap))
    e = gap / L
    along = float(np.sum((A.numpy() @ e) ** 2))
    # |A y|^2 over directions across e, per |y|^2
    across = (float((A.numpy() ** 2).sum()) - along) / (DIM - 1)
    nodes, hermite = roots_hermite(400)
    # |y|^2 / (2 s) has the Gamma law of shape (d - 1) / 2
    shape = (DIM - 1) / 2
    radial, laguerre = roots_genlaguerre(40, shape - 1)
    s, w = np.array(VARIANCES), weights.numpy()
    total = 0.0
    for k in range(2):
        t = (k * L + np.sqrt(2 * s[k]) * nodes)[:, None]
        square = 2 * s[k] * radial[None, :]
        log = [np.log(w[j]) - 0.5 * DIM * np.log(s[j]) - ((t - j * L) ** 2 + square) / (2 * s[j]) for j in (0, 1)]
        r = 1 / (1 + np.exp(np.clip(log[1] - log[0], -700, 700)))
        a = r / s[0] + (1 - r) / s[1]
        b = r * t / s[0] + (1 - r) * (t - L) / s[1]
        law = hermite[:, None] * laguerre[None, :]
        total += float(w[k]) * float((law * (b * b * along + a * a * square * across)).sum() / law.sum())
    return total


def _weights(weights: Sequence[float]) -> torch.Tensor:
    try:
        share = torch.as_tensor(weights, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SystemDefinitionError(f"weights are {weights!r}", "give two positive numbers") from error
    if share.shape != (2,) or not bool((share > 0).all()):
        raise SystemDefinitionError(f"weights are {weights!r}", "give two positive numbers, one per component")
    if abs(share.sum().item() - 1) > 1e-9:
        raise SystemDefinitionError(
            f"weights {share.tolist()} sum to {share.sum().item():.12g}", "give weights that sum to 1 within 1e-9"
        )
    return share


def _rotation(rotation: float | Sequence[Sequence[float]]) -> torch.Tensor:
    try:
        given = torch.as_tensor(rotation, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SystemDefinitionError(f"rotation is {rotation!r}", "give a number or a 12 x 12 matrix") from error
    if given.ndim == 0 and bool(torch.isfinite(given)):
        return given * rotation_matrix()
    if given.shape != (DIM, DIM) or not bool(torch.isfinite(given).all()):
        raise SystemDefinitionError(
            f"rotation has shape {tuple(given.shape)} or entries that are not finite",
            "give a number or an antisymmetric 12 x 12 matrix",
        )
    worst = (given + given.mT).abs().max().item()
    if worst > 1e-12 * given.abs().max().item():
        raise SystemDefinitionError(f"rotation is not antisymmetric (A + A^T up to {worst:.3g})", "give (M - M^T) / 2")
    return given

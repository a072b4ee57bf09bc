"""How far a potential is from a known one: the published metric, its fairer versions, and depths of basins."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from pyness.errors import InputError

__all__ = ["Basin", "PotentialError", "basins", "potential_error"]


@dataclass(frozen=True)
class PotentialError:
    """Relative errors of a potential, dimensionless.

    With ``d`` the difference of the two potentials and ``U`` the true one with minimum 0, over the points with
    ``U < cap * scale``:

    Attributes:
        rrmse: ``sqrt(sum d^2 / sum U^2)``, both potentials shifted to minimum 0 over *all* points (EPR-Net).
        rmae: ``sum |d| / sum |U|`` with the same shift.
        rrmse_best_shift, rmae_best_shift: the same with ``d`` shifted to mean 0, so that one low outlier does not
            count at every point.
        rrmse_weighted: ``sqrt(sum w d^2 / sum w U^2)`` with ``d`` shifted to ``w``-weighted mean 0, ``w`` the
            density: the error where the probability is.
        points: how many points counted.
    """

    rrmse: float
    rmae: float
    rrmse_best_shift: float
    rmae_best_shift: float
    rrmse_weighted: float
    points: int

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def potential_error(
    potential: torch.Tensor,
    truth: torch.Tensor,
    scale: float,
    *,
    cap: float = 20.0,
    weights: torch.Tensor | None = None,
) -> PotentialError:
    """Compare ``potential`` with ``truth`` at the same points (landscapes.md, section 7).

    Args:
        potential, truth: same shape, any; each up to a constant. ``truth`` may be ``inf`` where the density vanishes.
        scale: ``D`` of ``U = -D log p``, or 1 for ``-log p`` (``System.potential_scale``).
        cap: points count where the true potential is below ``cap * scale``.
        weights: density weights, same shape. Without them ``exp(-truth / scale)``, right for evenly spaced
            points; on samples of the density give ones.

    Raises:
        InputError: shapes differ, NaN among the points that count, a scale or cap that is not positive.
    """
    V, U = _pair(potential, truth, scale)
    if not cap > 0:
        raise InputError(f"cap is {cap!r}", "give a positive number of D")
    V, U = V - V.min(), U - U.min()
    w = torch.exp(-U / scale) if weights is None else torch.as_tensor(weights).detach().double().reshape(-1)
    if w.shape != U.shape or not bool((w >= 0).all()) or not bool(torch.isfinite(w).all()):
        raise InputError(f"weights have shape {tuple(w.shape)} for {U.numel()} points", "give one weight >= 0 each")
    keep = cap * scale > U
    V, U, w = V[keep], U[keep], w[keep]
    square, total = U.square().sum(), U.sum()
    if not square > 0:
        raise InputError("the true potential is constant below the cap", "give more points or a higher cap")
    d = V - U
    shifted = d - d.mean()
    weighted = d - (w * d).sum() / w.sum()
    return PotentialError(
        rrmse=(d.square().sum() / square).sqrt().item(),
        rmae=(d.abs().sum() / total).item(),
        rrmse_best_shift=(shifted.square().sum() / square).sqrt().item(),
        rmae_best_shift=(shifted.abs().sum() / total).item(),
        rrmse_weighted=((w * weighted.square()).sum() / (w * U.square()).sum()).sqrt().item(),
        points=int(keep.sum()),
    )


@dataclass(frozen=True)
class Basin:
    """One basin of the true potential on a grid.

    Attributes:
        node: grid index of its minimum.
        free_energy: ``-scale log`` of its share of the probability, from the potential that was tested.
        free_energy_true: the same from the truth.
    """

    node: tuple[int, ...]
    free_energy: float
    free_energy_true: float


def basins(potential: torch.Tensor, truth: torch.Tensor, scale: float, *, prominence: float = 1.0) -> list[Basin]:
    """What each basin of ``truth`` holds, by both potentials, the deepest first.

    A loss of gradients hardly sees the ridges, so the relative depth of basins is the error it leaves; the metric
    above dilutes it. A basin is a set of nodes that drains to one minimum, merged with its neighbour where the ridge
    between them is less than ``prominence * scale`` above the shallower minimum. The difference of
    ``free_energy`` between two basins against that of ``free_energy_true`` is the offset error.

    Args:
        potential, truth: on an evenly spaced grid, ``(n1, ..., nd)``, up to constants; periodic wrap is not followed.
        scale: as for :func:`potential_error`.

    Raises:
        InputError: shapes differ, NaN, or a scale that is not positive.
    """
    shape = tuple(torch.as_tensor(truth).shape)
    V, U = _pair(potential, truth, scale)
    U = U - U.min()
    label = _flood(U, shape, prominence * scale)
    found = []
    for top in label.unique().tolist():
        if top < 0:
            continue
        inside = label == top
        share = torch.stack([torch.softmax(-W / scale, 0)[inside].sum().log() for W in (V, U)]) * -scale
        node = tuple(int(i) for i in torch.unravel_index(torch.tensor(top), shape))
        found.append(Basin(node, share[0].item(), share[1].item()))
    return sorted(found, key=lambda basin: basin.free_energy_true)


def _flood(U: torch.Tensor, shape: tuple[int, ...], ridge: float) -> torch.Tensor:
    """``(nodes,)`` index of the minimum each node belongs to, by filling the landscape from below; -1 if never wet."""
    strides = [1]
    for n in reversed(shape[1:]):
        strides.insert(0, strides[0] * n)
    values = U.tolist()
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for node in torch.argsort(U, stable=True).tolist():
        if values[node] == float("inf"):
            break
        pools = set()
        for stride, n in zip(strides, shape, strict=True):
            at = node // stride % n
            pools.update(
                root(node + step)
                for step, ok in ((-stride, at > 0), (stride, at < n - 1))
                if ok and node + step in parent
            )
        # minima are the roots, so the deepest pool is the one whose root lies lowest
        ordered = sorted(pools, key=lambda pool: values[pool])
        parent[node] = ordered[0] if ordered else node
        for pool in ordered[1:]:
            if values[node] - values[pool] < ridge:
                parent[pool] = ordered[0]
    return torch.tensor([root(node) if node in parent else -1 for node in range(len(values))])


def _pair(potential: torch.Tensor, truth: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    V, U = (torch.as_tensor(values).detach().cpu().double() for values in (potential, truth))
    if V.shape != U.shape or V.numel() == 0:
        raise InputError(f"potentials have shapes {tuple(V.shape)} and {tuple(U.shape)}", "evaluate both at one set")
    if bool(U.isnan().any()) or bool(V.isnan().any()):
        raise InputError(
            f"{int(V.isnan().sum())} values of the potential and {int(U.isnan().sum())} of the truth are NaN",
            "evaluate where both exist",
        )
    if not scale > 0:
        raise InputError(f"scale is {scale!r}", "give D for scalar noise, 1 otherwise")
    return V.reshape(-1), U.reshape(-1)

"""The stationary masses of a Markov jump process on a mesh, with relative accuracy in every cell.

A landscape is read off ``log p``, so cells of mass ``exp(-27)`` count as much as the peak. Masses are therefore
computed by eliminations and scalings that never subtract: an M-matrix with the attractors taken out has a
nonnegative inverse, and what remains between the attractors is a chain of few states solved by the
Grassmann-Taksar-Heyman elimination (Oper. Res. 33, 1107, 1985), whose accuracy does not depend on how rare the
exchange between basins is.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from pyness.errors import InputError
from pyness.grid.mesh import Faces

__all__ = ["attractors", "incomplete_factors", "solve_by_elimination", "solve_by_iteration"]

PINS = 16
ROUNDS = 20
TAIL = 1e-26  # iteration is asked for relative accuracy down to this fraction of the peak, exp(-60)
SHRINK = 1e-6  # the most a mass may fall in one round: below it a Krylov solution has no correct digits
ACCURACY = 1e-6


def attractors(faces: Faces) -> np.ndarray:
    """One cell of each attractor of the noiseless jump dynamics, the widest basins first, ``PINS`` at most."""
    n = faces.mesh.cells
    net = faces.forward - faces.backward
    source = np.concatenate([faces.left, faces.right])
    target = np.concatenate([faces.right, faces.left])
    pull = np.concatenate([net, -net])
    order = np.argsort(pull, kind="stable")
    order = order[pull[order] > 0]
    following = np.arange(n)
    following[source[order]] = target[order]
    end = following
    for _ in range(max(1, int(np.ceil(np.log2(n))))):
        end = end[end]
    found = []
    size = np.bincount(end, minlength=n)
    pending = set(np.flatnonzero(size).tolist())
    while pending:
        cell = min(pending)
        orbit = []
        while cell not in orbit:
            orbit.append(cell)
            cell = int(following[cell])
        pending.difference_update(orbit)
        found.append((sum(size[c] for c in orbit), orbit[0]))
    found.sort(key=lambda item: -item[0])
    return np.array([cell for _, cell in found[:PINS]])


def solve_by_elimination(faces: Faces) -> np.ndarray:
    """``(cells,)`` stationary masses by sparse LU with the attractors as pinned states.

    Raises:
        InputError: the exchange between attractors is slower than a double can hold (a barrier above 700 D).
    """
    M = faces.generator
    pins = attractors(faces)
    rest = np.setdiff1d(np.arange(M.shape[0]), pins)
    inner = linalg.splu(
        M[rest][:, rest].tocsc(),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,  # pivots stay on the diagonal, so that nothing is subtracted off it
        options={"SymmetricMode": True},
    )
    visits = inner.solve(-M[rest][:, pins].toarray())
    visits = np.maximum(visits, 0.0)
    between = -(M[pins][:, pins].toarray() + M[pins][:, rest] @ visits)
    weights = _few_states(between.T)
    masses = np.empty(M.shape[0])
    masses[pins] = weights
    masses[rest] = visits @ weights
    if not np.isfinite(masses).all():
        raise InputError("the stationary masses overflow a double", "raise the diffusion or narrow the window")
    return masses / masses.sum()


def _few_states(rate: np.ndarray) -> np.ndarray:
    """Stationary weights of a chain with ``rate[i, j]`` from ``i`` to ``j`` (diagonal ignored), without subtraction."""
    rate = rate.copy()
    n = rate.shape[0]
    for k in range(n - 1, 0, -1):
        leaving = rate[k, :k].sum()
        if not leaving > 0:
            raise InputError(
                "two basins exchange more slowly than a double can hold", "raise the diffusion or solve one basin"
            )
        rate[:k, k] /= leaving
        rate[:k, :k] += np.outer(rate[:k, k], rate[k, :k])
    weights = np.ones(n)
    for k in range(1, n):
        weights[k] = weights[:k] @ rate[:k, k]
    return weights


def solve_by_iteration(faces: Faces, guess: np.ndarray) -> np.ndarray:
    """``(cells,)`` stationary masses from a positive ``guess: (cells,)``, by Krylov steps in the ratio to the guess.

    The unknown is mass over guess and the guess is replaced by each result, until the ratio is 1 to ``ACCURACY``
    wherever the mass exceeds ``TAIL`` of the peak: that is relative accuracy in the tail, which a residual of the
    masses themselves would not see. Basins that exchange at less than ``exp(-20)`` of their inner rates keep the
    guess's weights.

    Raises:
        InputError: no convergence.
    """
    M = faces.generator
    n = M.shape[0]
    pin = int(guess.argmax())
    free = np.ones(n)
    free[pin] = 0.0
    pull = -M[:, [pin]].toarray().ravel()
    pull[pin] = M[pin, pin]
    unit = sparse.coo_matrix(([M[pin, pin]], ([pin], [pin])), shape=(n, n))
    pinned = (sparse.diags(free) @ M @ sparse.diags(free) + unit).tocsr()
    lower, upper = incomplete_factors(faces, pinned, free)
    masses, diagonal = guess / guess.max(), pinned.diagonal()
    for _ in range(ROUNDS):
        scale = diagonal * masses
        ratio_matrix = (sparse.diags(1 / scale) @ pinned @ sparse.diags(masses)).tocsr()
        precondition = linalg.LinearOperator(
            (n, n), lambda y, scale=scale, masses=masses: upper.solve(lower.solve(y * scale)) / masses
        )
        ratio, failed = linalg.bicgstab(
            ratio_matrix, pull * masses[pin] / scale, x0=np.ones(n), rtol=1e-9, maxiter=2000, M=precondition
        )
        if failed or not np.isfinite(ratio).all():
            break
        seen = masses > TAIL
        masses = masses * np.maximum(ratio, SHRINK)
        masses = np.maximum(masses / masses.max(), np.finfo(float).tiny)
        if np.abs(ratio[seen] - 1).max() < ACCURACY:
            return masses / masses.sum()
    raise InputError(
        f"the steady state on {'x'.join(map(str, faces.mesh.shape))} cells did not converge",
        "take more cells, a narrower window (low=, high=) or a larger diffusion",
    )


def incomplete_factors(faces: Faces, pinned: sparse.csr_matrix, free: np.ndarray):
    """``L``, ``U`` with ``L U`` equal to the matrix on its diagonal (DILU); exists for every M-matrix."""
    mesh = faces.mesh
    first, second = np.minimum(faces.left, faces.right), np.maximum(faces.left, faces.right)
    product = faces.forward * faces.backward * free[first] * free[second]
    # cells of equal index sum depend only on cells of a lower sum, so a whole front is updated at once
    front = sum(np.ix_(*(np.arange(k) for k in mesh.shape))).ravel()[second]
    order = np.argsort(front, kind="stable")
    first, second, product = first[order], second[order], product[order]
    diagonal = pinned.diagonal()
    cuts = np.searchsorted(front[order], np.arange(front.max() + 2))
    for begin, end in itertools.pairwise(cuts):
        np.subtract.at(diagonal, second[begin:end], product[begin:end] / diagonal[first[begin:end]])
    options = {"permc_spec": "NATURAL", "diag_pivot_thresh": 0.0}
    lower = linalg.splu((sparse.tril(pinned, -1) + sparse.diags(diagonal)).tocsc(), **options)
    upper = linalg.splu(
        (sparse.diags(1 / diagonal) @ sparse.triu(pinned, 1) + sparse.eye(mesh.cells)).tocsc(), **options
    )
    return lower, upper

"""A system as a model that Julia has compiled, checked against torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from pyness.errors import JuliaError, TranslationError
from pyness.sampling.engines.julia.session import Code, Session, literal
from pyness.sampling.engines.julia.translator import (
    LARGEST_STATIC,
    refuse_disagreement,
    translate,
    translate_particles,
)
from pyness.systems import ParticleSystem, System

__all__ = ["Model"]

PROBES = 32
#: Of configurations of many particles.
FEW_PROBES = 4
#: Compiled code may add in another order and has other elementary functions than torch.
AGREEMENT = 1e-9


class Model:
    """A system's drift and noise in a session, under a name that depends on their source and dimension alone.

    Args:
        system: its drift and diffusion are translated; a drift given in Julia (``System(julia=...)``) is used as it is,
            and so is a ``noise!(du, u, p, t)`` in the same source where the diffusion depends on the state. In those
            ``p`` is a named tuple of the numbers in ``system.parameters``.
        session: where it is compiled.
        exact: whether activities of particles make their exact transition after each step of EM.
        particles: whether a particle system is carried as one even where it is small and without interaction.

    Attributes:
        name: what Julia knows it by.
        particles: whether Julia's own loops over neighbours carry it (a ``ParticleSystem`` that interacts or is large).
        matrix: whether the noise is a matrix.
        rotation: the axes ``(d, d)`` in which it is diagonal, where it is a constant matrix; else None.
        arguments: parameters of the drift and of the noise, as ``Session.call`` takes them.

    Raises:
        TranslationError: no translation, or one that disagrees with torch (with the point and both values).
    """

    def __init__(self, system: System, session: Session, *, exact: bool = False, particles: bool = False) -> None:
        self.system = system
        own = system.julia
        self.matrix, self.rotation = False, None
        self.particles = own is None and _carried_as_particles(system, exact or particles)
        source = self._as_particles(exact) if self.particles else self._as_fields()
        additive = system.diffusion.additive
        known = f"{system.dim}{self.matrix}{additive}{source}"
        self.name = f"{system.name}-{hashlib.sha256(known.encode()).hexdigest()[:16]}"
        try:
            session.call("PyNESS.define", self.name, source, system.dim, self.matrix, additive)
            self._check(session)
        except JuliaError as error:
            if own is None:
                raise
            cause = error.__cause__ or error
            said = " ".join(str(getattr(cause, "message", cause)).split())
            raise TranslationError(
                f"the Julia source of system {system.name!r} failed: {said[:300]}",
                "define drift!(du, u, p, t), with p.NAME for the system's parameters",
            ) from cause

    def _as_fields(self) -> str:
        """The source of functions of the whole state; sets what else there is to know."""
        system, own = self.system, self.system.julia
        own_noise = own is not None and not system.diffusion.additive and re.search(r"\bnoise!\s*\(", own) is not None
        translation = translate(system, drift=own is None)
        numbers = Code(f"Float64[{', '.join(map(literal, translation.parameters.tolist()))}]")
        given = Code(named_tuple(system.parameters))
        self.matrix = translation.noise.ndim == 2
        self.rotation = translation.rotation
        self.arguments = (numbers if own is None else given, given if own_noise else numbers)
        return "\n".join(([] if own is None else [own]) + ([] if own_noise else [translation.source]))

    def _as_particles(self, exact: bool) -> str:
        """The source of functions of a pair and of a particle; sets what else there is to know."""
        system, activity = self.system, self.system.activity
        translation = translate_particles(system)
        low = ", ".join(map(literal, system.box.low))
        periods = ", ".join(literal(float("inf") if p is None else float(p)) for p in system.periods)
        options = {
            "trap": system.trap,
            "speed": float(activity.speed),
            "rate": float(activity.rate),
            "noise": system.noise,
            "angles": activity.name == "rotation",
            "exact": exact,
            "species": "" if system.species is None else " ".join(map(str, system.species.tolist())),
            "numbers": Code(f"Float64[{', '.join(map(literal, translation.numbers.tolist()))}]"),
        }
        cutoff = literal(float("inf") if system.cutoff is None else float(system.cutoff))
        words = ", ".join(f"{name} = {literal(value)}" for name, value in options.items())
        given = Code(f"PyNESS.Particles({system.n_particles}, Float64[{low}], Float64[{periods}], {cutoff}; {words})")
        self.arguments = (given, given)
        return translation.source

    def _check(self, session: Session) -> None:
        """Compare with torch at random points of the box, in both forms that solvers may call."""
        system, d = self.system, self.system.dim
        generator = torch.Generator().manual_seed(1)
        x = system.domain.uniform(FEW_PROBES if self.particles else PROBES, generator, dtype=torch.float64)
        n = len(x)
        points = session.empty((n, d), torch.float64).copy_(x)
        drift = session.empty((n, d), torch.float64)
        noise = session.empty((n, d, d) if self.matrix else (n, d), torch.float64)
        expected = system.drift(x).numpy(), _twice_diffusion(system, x, self.matrix or self.rotation is not None)
        for static in (False, True) if d <= LARGEST_STATIC and not self.particles else (False,):
            session.call("PyNESS.check!", drift, noise, self.name, points, *self.arguments, static=static)
            # Julia's matrices arrive transposed
            factor = noise.mT if self.matrix else noise
            square = factor @ factor.mT if self.matrix else factor * factor
            if self.rotation is not None:
                axes = torch.from_numpy(self.rotation)
                square = (axes * square[:, None, :]) @ axes.mT
            remedy = "mend System(julia=...)" if system.julia else "use engine='torch' and report this as a bug"
            refuse_disagreement("the drift", x.numpy(), drift.numpy(), expected[0], AGREEMENT, remedy)
            refuse_disagreement("2 D", x.numpy(), square.numpy(), expected[1], AGREEMENT, remedy)

    def __repr__(self) -> str:
        return f"<Model {self.name}>"


def _carried_as_particles(system: System, wanted: bool) -> bool:
    return isinstance(system, ParticleSystem) and (wanted or system.interacts or system.dim > LARGEST_STATIC)


def _twice_diffusion(system: System, x: torch.Tensor, matrix: bool) -> np.ndarray:
    """``2 D`` at ``x: (n, d)``: ``(n, d, d)``, or ``(n, d)`` where the noise is diagonal."""
    D = 2 * system.diffusion(x)
    if system.diffusion.kind != "matrix":
        return D.expand(x.shape).numpy()
    D = D.expand(len(x), system.dim, system.dim)
    return (D if matrix else torch.diagonal(D, dim1=-2, dim2=-1)).numpy()


def matrix_literal(array: np.ndarray) -> Code:
    """A matrix as Julia source."""
    return Code("[" + "; ".join(" ".join(literal(float(v)) for v in row) for row in array) + "]")


def named_tuple(parameters: Mapping[str, Any]) -> str:
    """The numbers among ``parameters`` (and rectangular lists of them) as a Julia named tuple."""
    words = []
    for name, value in parameters.items():
        written = _written(value)
        if written is not None:
            words.append(f"{name} = {written}, ")
    return f"({''.join(words)})" if words else "(;)"


def _written(value: Any) -> str | None:
    if isinstance(value, (bool, int, float)):
        return literal(value)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if array.ndim == 1:
        return "[" + ", ".join(literal(float(v)) for v in array) + "]"
    if array.ndim == 2:
        return matrix_literal(array)
    return None

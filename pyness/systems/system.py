"""``System``: an Ito stochastic differential equation on a domain, validated where it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from pyness.errors import InputError, SystemDefinitionError
from pyness.systems.box import Box
from pyness.systems.derivatives import divergence, jacobian, value_and_divergence
from pyness.systems.diffusion import Diffusion
from pyness.systems.positivity import refuse_negative
from pyness.systems.reflection import refuse_oblique
from pyness.systems.truth import EvaluationGrid, Truth

__all__ = ["System"]

PROBES = 16


class System:
    """``dX = F(X) dt + sqrt(2 D(X)) dW`` (Ito), ``D = sigma sigma^T / 2``, dimensionless, k_B = 1.

    Args:
        name: what the system is called in files and tables.
        dim: the dimension ``d``.
        drift: ``F``, a function of ``x: (..., d)`` made of torch operations, returning ``(..., d)``.
        diffusion: ``D`` as a float, a ``(d,)`` sequence (diagonal), a constant ``(d, d)`` matrix, or a function of
            ``x`` returning ``(..., 1)`` (a number), ``(..., d)`` or ``(..., d, d)``.
        diffusion_divergence: ``(div D)_i = sum_j d_j D_ij`` of such a function, ``(..., d)``, where one knows it better
            or quicker than automatic differentiation, against which it is checked.
        domain: a ``Box``; without one, open space with walkers started in ``[-1, 1]^d``.
        variables: ``d`` names of the coordinates; ``x1 ... xd`` if not given.
        parameters: the numbers the drift was built from, for files and tables.
        solver: recommended solver, ``"NAME"`` or ``"NAME:option=value"``.
        plan: recommended keyword arguments of ``pyness.sample``.
        truth: what is known exactly.
        evaluation: the grid of the published error metric.
        window: ``(low, high)`` corners that pictures show; the box if not given.
        source: where the equations come from.
        julia: Julia source ``drift!(du, u, p, t) = ...`` to use instead of the translated drift.

    Raises:
        SystemDefinitionError: whatever makes the pair (drift, diffusion) unusable, seen at random points of the box.
    """

    def __init__(
        self,
        name: str,
        dim: int,
        drift: Callable[[torch.Tensor], torch.Tensor],
        diffusion: float | Sequence[float] | torch.Tensor | Callable[[torch.Tensor], torch.Tensor],
        domain: Box | None = None,
        variables: Sequence[str] | None = None,
        *,
        diffusion_divergence: Callable[[torch.Tensor], torch.Tensor] | None = None,
        parameters: Mapping[str, Any] | None = None,
        solver: str | None = None,
        plan: Mapping[str, Any] | None = None,
        truth: Truth | None = None,
        evaluation: EvaluationGrid | None = None,
        window: tuple[Sequence[float], Sequence[float]] | None = None,
        source: str = "",
        julia: str | None = None,
    ) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise SystemDefinitionError(f"dim is {dim!r}", "give a whole number of at least 1")
        if not callable(drift):
            raise SystemDefinitionError(f"drift is {drift!r}", "give a function of x: (..., d)")
        self.name = str(name)
        self.dim = dim
        self.domain = domain if domain is not None else Box([-1.0] * dim, [1.0] * dim, "open")
        if not isinstance(self.domain, Box) or self.domain.dim != dim:
            raise SystemDefinitionError(
                f"domain {self.domain!r} in dimension {dim}", f"give a Box of {dim} coordinates"
            )
        self.variables = self._names(variables)
        self._drift = drift
        self.diffusion = Diffusion(diffusion, dim, diffusion_divergence)
        self.parameters = dict(parameters or {})
        self.solver = solver
        self.plan = dict(plan or {})
        self.truth = truth or Truth()
        self.evaluation = evaluation
        self.window = window or (self.domain.low, self.domain.high)
        self.source = source
        self.julia = julia
        self._validate()

    def _names(self, variables: Sequence[str] | None) -> tuple[str, ...]:
        if variables is None:
            return tuple(f"x{i + 1}" for i in range(self.dim))
        names = tuple(str(v) for v in variables)
        if len(names) != self.dim or len(set(names)) != self.dim:
            raise SystemDefinitionError(f"variables {names} in dimension {self.dim}", f"give {self.dim} distinct names")
        return names

    def _validate(self) -> None:
        generator = torch.Generator().manual_seed(0)
        x = self.domain.uniform(PROBES, generator, dtype=torch.float64)
        try:
            out = self._drift(x)
        except Exception as error:
            raise SystemDefinitionError(
                f"drift failed on x of shape {tuple(x.shape)}: {type(error).__name__}: {_first_line(error)}",
                "write it for x: (..., d), with x[..., i] for coordinate i",
            ) from error
        if not isinstance(out, torch.Tensor):
            raise SystemDefinitionError(f"drift returned {type(out).__name__}", "return a torch tensor (..., d)")
        if out.shape != x.shape:
            raise SystemDefinitionError(
                f"drift returned shape {tuple(out.shape)} for x of shape {tuple(x.shape)}",
                "return (..., d), for example torch.stack([...], dim=-1)",
            )
        if not bool(torch.isfinite(out).all()):
            bad = x[~torch.isfinite(out).all(-1)][0]
            raise SystemDefinitionError(
                f"drift is not finite at x = {[round(v, 4) for v in bad.tolist()]}",
                "choose a domain in which it is finite, or mend the formula",
            )
        for batch, expected in ((x[3], out[3]), (x[:6].reshape(2, 3, self.dim), out[:6].reshape(2, 3, self.dim))):
            self._check_batch(batch, expected)
        self._check_dtype(x)
        self.diffusion.check(x)
        if self.domain.walled:
            refuse_oblique(self.domain, self.diffusion, self.variables, x)
        refuse_negative(self.diffusion, self.domain)

    def _check_batch(self, x: torch.Tensor, expected: torch.Tensor) -> None:
        try:
            out = self._drift(x)
            agrees = out.shape == expected.shape and torch.allclose(out, expected, rtol=1e-9, atol=1e-12)
        except Exception as error:
            raise SystemDefinitionError(
                f"drift failed on x of shape {tuple(x.shape)}: {type(error).__name__}: {_first_line(error)}",
                "index coordinates from the right: x[..., i], torch.stack(..., dim=-1)",
            ) from error
        if not agrees:
            raise SystemDefinitionError(
                f"drift of a point depends on the batch it stands in (shape {tuple(x.shape)})",
                "use x[..., i], sum(-1), torch.stack(..., dim=-1), so that leading dimensions are a batch",
            )

    def _check_dtype(self, x: torch.Tensor) -> None:
        for dtype in (torch.float32, torch.float64):
            try:
                out = self._drift(x.to(dtype))
            except RuntimeError as error:
                raise SystemDefinitionError(
                    f"drift failed on {dtype} input: {_first_line(error)}", "convert constants with .to(x)"
                ) from error
            if out.dtype != dtype:
                raise SystemDefinitionError(f"drift turned {dtype} into {out.dtype}", "convert constants with .to(x)")

    def drift(self, x: torch.Tensor) -> torch.Tensor:
        """``F(x)``, ``(..., d)``."""
        return self._drift(x)

    def modified_drift(self, x: torch.Tensor) -> torch.Tensor:
        """``F_v = F - div D``, ``(..., d)``; ``F`` itself for additive noise."""
        return self._drift(x) if self.diffusion.constant else self._drift(x) - self.diffusion.divergence(x)

    def drift_divergence(self, x: torch.Tensor) -> torch.Tensor:
        """``div F``, ``(...,)``."""
        return divergence(self._drift, x)

    def drift_and_divergence(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``F_v: (..., d)`` and ``div F_v: (...,)``."""
        return value_and_divergence(self.modified_drift, x)

    def drift_jacobian(self, x: torch.Tensor) -> torch.Tensor:
        """``dF_i/dx_j``, ``(..., d, d)``."""
        return jacobian(self._drift, x)

    def with_noise(self, factor: float, modified: bool = False) -> System:
        """The same equations with ``D`` multiplied by ``factor``; exact results and plans do not carry over.

        Args:
            modified: keep ``F_v`` rather than ``F``: then ``p ~ exp(-Phi / factor)`` where nothing flows, and to
                leading order elsewhere, also for noise that depends on the state.
        """
        D, drift = self.diffusion, self._drift
        scaled = D.value * factor if D.constant else lambda x: factor * D(x)
        if modified and not D.constant:
            drift = lambda x: self._drift(x) + (factor - 1) * D.divergence(x)  # noqa: E731
        divergence = None if D.supplied is None else lambda x: factor * D.supplied(x)
        return System(
            f"{self.name} x{factor:g}", self.dim, drift, scaled, self.domain, self.variables,
            diffusion_divergence=divergence, parameters=self.parameters, window=self.window, source=self.source,
        )  # fmt: skip

    @property
    def interacts(self) -> bool:
        """Whether it is of particles that act on each other: their neighbours are searched for."""
        return False

    @property
    def potential_scale(self) -> float:
        """What multiplies ``-log p`` in the potential: ``D`` where it is a constant number, else 1."""
        return self.diffusion.scalar or 1.0

    def check_states(self, x: Any) -> torch.Tensor:
        """Given states as a floating tensor ``(..., d)``.

        Raises:
            InputError: wrong last dimension, NaN or infinite entries, or points outside a wall.
        """
        try:
            x = torch.as_tensor(x)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"states of type {type(x).__name__}", "give a tensor or array (..., d)") from None
        if not x.is_floating_point():
            x = x.to(torch.get_default_dtype())
        if x.ndim < 1 or x.shape[-1] != self.dim:
            raise InputError(
                f"states have shape {tuple(x.shape)} but system {self.name!r} has {self.dim} coordinates",
                f"give (..., {self.dim})",
            )
        if x.numel() == 0:
            raise InputError(f"states have shape {tuple(x.shape)}: there is nothing in them", "give at least one state")
        finite = torch.isfinite(x).all(-1)
        if not bool(finite.all()):
            where = tuple(torch.nonzero(~finite)[0].tolist())
            raise InputError(
                f"{int((~finite).sum())} of {finite.numel()} states are NaN or infinite, the first at index {where}",
                "remove those walkers and say so where the data are described",
            )
        inside = self.domain.contains(x)
        if not bool(inside.all()):
            where = tuple(torch.nonzero(~inside)[0].tolist())
            raise InputError(
                f"{int((~inside).sum())} states lie outside the domain, the first at index {where}: "
                f"{_few(round(v, 4) for v in x[where].tolist())}",
                f"give states inside {_few(self.domain.low)} .. {_few(self.domain.high)}",
            )
        return x

    def to_dict(self) -> dict[str, Any]:
        """What files record of the system."""
        return {
            "name": self.name,
            "dim": self.dim,
            "variables": list(self.variables),
            "parameters": self.parameters,
            "diffusion": self.diffusion.to_dict(),
            "domain": self.domain.to_dict(),
            "source": self.source,
        }

    def __repr__(self) -> str:
        parameters = ", ".join(f"{k}={v}" for k, v in self.parameters.items())
        return f"<System {self.name!r}: d={self.dim}{', ' if parameters else ''}{parameters}>"


def _few(values: Iterable[float]) -> str:
    """Coordinates as a list, of many only the first."""
    values = list(values)
    return str(values) if len(values) <= 8 else str(values[:8])[:-1] + ", ...]"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0]

"""The baseline of density estimation: a normalising flow, fitted to the samples without a look at the drift.

Masked autoregressive flows of zuko: each coordinate goes through the distribution function of a mixture of Gaussians
that depends smoothly on those before it. So ``-log q`` is smooth, as bounds and certificate need: splines have kinks at
their knots, where the divergence of the velocity would be missed.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pyness.checkpoint import read_checkpoint, write_checkpoint
from pyness.errors import InputError, TrainingError
from pyness.sampling import Samples
from pyness.systems import System

__all__ = ["Flow", "fit_flow"]

TRANSFORMS, COMPONENTS = 2, 8
BATCH, RATE, CLIP = 1024, 3e-3, 5.0
VALIDATION, EVERY = 0.1, 50
#: Of the range of the samples, on either side, and how steeply the potential rises beyond.
ROOM, CONFINEMENT = 0.25, 400.0
#: Up to this dimension the curvature is exact, one backward pass to a coordinate; beyond it by random probes.
EXACT_UP_TO, PROBES = 16, 4
STATE = ("step", "weights", "optimizer", "generator", "best", "best_weights")


class Flow:
    """``-log q`` of a normalising flow, with the face of ``Network`` as far as a landscape uses it.

    Attributes:
        tensors: ``center (d,)``, ``scale (d,)``, the hull ``low (d,)``, ``high (d,)`` and those under ``flow.``.
            Beyond the hull, where no sample is, the potential of the nearest point in it rises by a cubic.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], units: int) -> None:
        self.tensors = dict(tensors)
        center = self.tensors["center"]
        self.module = _build(len(center), units, 0).to(center)
        own = {name.removeprefix("flow."): t for name, t in self.tensors.items() if name.startswith("flow.")}
        self.module.load_state_dict(own)
        self.module.requires_grad_(False)

    @property
    def laplacian(self) -> str:
        """How second derivatives are taken."""
        if len(self.tensors["center"]) <= EXACT_UP_TO:
            return "exact, one backward pass to a coordinate"
        return f"Hutchinson, {PROBES} probes to a state; their variance is part of the standard errors"

    def places(self, x: torch.Tensor, order: int = 2) -> torch.Tensor:
        """Points ``x: (n, d)``, float64; derivatives of any ``order`` are made when they are asked for."""
        return x

    def value(self, x: torch.Tensor) -> torch.Tensor:
        """``Phi``, ``(n,)``."""
        with torch.no_grad():
            return self._potential(x)

    def gradient(self, x: torch.Tensor) -> torch.Tensor:
        """``grad Phi``, ``(n, d)``."""
        return self._gradient(x.detach().requires_grad_(), graph=False)

    def gradient_and_curvature(self, system: System, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``grad Phi: (n, d)`` and ``div(D grad Phi): (n,)``."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            gradient = self._gradient(x, graph=True)
            noisy = system.diffusion.apply(x, gradient)
            bent = 0.0
            for weight in self._directions(x):
                (row,) = torch.autograd.grad((noisy * weight).sum(), x, retain_graph=True)
                bent = bent + (row * weight).sum(1)
        dim = x.shape[1]
        return gradient.detach(), (bent if dim <= EXACT_UP_TO else bent / PROBES).detach()

    def _directions(self, x: torch.Tensor) -> list[torch.Tensor]:
        dim = x.shape[1]
        if dim <= EXACT_UP_TO:
            return list(torch.eye(dim, dtype=x.dtype, device=x.device))
        # from the states themselves: the same each time, and other signs for other states, however they are split up
        digest = hashlib.sha256(x.detach().cpu().contiguous().numpy().tobytes()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
        signs = torch.randint(0, 2, (PROBES, *x.shape), generator=generator) * 2 - 1
        return list(signs.to(x))

    def _gradient(self, x: torch.Tensor, graph: bool) -> torch.Tensor:
        with torch.enable_grad():
            return torch.autograd.grad(self._potential(x).sum(), x, create_graph=graph)[0]

    def _potential(self, x: torch.Tensor) -> torch.Tensor:
        low, high, scale = (self.tensors[name] for name in ("low", "high", "scale"))
        inside = torch.minimum(torch.maximum(x, low), high)
        beyond = (x - inside) / (high - low)
        log_density = self.module().log_prob((inside - self.tensors["center"]) / scale)
        return scale.log().sum() - log_density + CONFINEMENT * beyond.abs().pow(3).sum(-1)


def fit_flow(
    system: System,
    training: Samples,
    seed: int,
    options: Mapping[str, Any],
    metadata: Mapping[str, Any],
    *,
    device: str,
    checkpoint: str | Path | None,
    log: str | Path | None,
    resume: bool,
    progress: bool,
) -> Flow:
    """Maximum likelihood by Adam on the states of ``training``; the best on a tenth of its walkers is kept.

    Raises:
        InputError: a periodic coordinate, which these flows do not have.
        TrainingError: a likelihood that is not finite.
    """
    if system.domain.periodic:
        name = system.variables[system.domain.periodic[0]]
        raise InputError(f"coordinate {name} is periodic and method 'flow' has open ones only", "take another method")
    judged, own = training.split(VALIDATION, seed=seed)
    x, held = (part.states.reshape(-1, system.dim).to(device).double() for part in (own, judged))
    center, scale = x.mean(0), x.std(0).clamp_min(1e-12)
    z, held = (x - center) / scale, ((held - center) / scale)[:20_000]
    module = _build(system.dim, options["units"], seed).to(z)
    optimizer = torch.optim.Adam(module.parameters(), RATE)
    generator = torch.Generator().manual_seed(seed)
    stored = read_checkpoint(checkpoint, dict(metadata), STATE) if resume else None
    step, best, best_weights = 0, math.inf, _copy(module)
    if stored is not None:
        step, best, best_weights = stored["step"], stored["best"], stored["best_weights"]
        module.load_state_dict(stored["weights"])
        optimizer.load_state_dict(stored["optimizer"])
        generator.set_state(stored["generator"])
    elif log is not None:
        Path(log).write_text("", encoding="utf-8")
    steps = options["steps"]
    with tqdm(total=steps, initial=step, desc="training", disable=None if progress else True, unit="step") as bar:
        while step < steps:
            for group in optimizer.param_groups:
                group["lr"] = 0.5 * RATE * (1 + math.cos(math.pi * step / steps))
            rows = torch.randint(0, len(z), (BATCH,), generator=generator).to(z.device)
            loss = -module().log_prob(z[rows]).mean()
            if not bool(torch.isfinite(loss)):
                raise TrainingError(f"the likelihood is not finite at step {step}", "give more samples or fewer units")
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
            step += 1
            bar.update(1)
            if step % EVERY and step < steps:
                continue
            with torch.no_grad():
                reached = -module().log_prob(held).mean().item()
            if reached < best:
                best, best_weights = reached, _copy(module)
            bar.set_postfix(nll=f"{reached:.4f}", refresh=False)
            if log is not None:
                with Path(log).open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"step": step, "nll": loss.item(), "nll_held_out": reached}) + "\n")
            if checkpoint is not None:
                state = (step, module.state_dict(), optimizer.state_dict(), generator.get_state(), best, best_weights)
                write_checkpoint(checkpoint, dict(zip(STATE, state, strict=True)), dict(metadata))
    room = ROOM * (x.max(0).values - x.min(0).values).clamp_min(1e-12)
    hull = {"low": x.min(0).values - room, "high": x.max(0).values + room}
    tensors = {"center": center, "scale": scale} | hull | {f"flow.{name}": t for name, t in best_weights.items()}
    return Flow(tensors, options["units"])


def _build(dim: int, units: int, seed: int) -> torch.nn.Module:
    import zuko

    # zuko draws from the global generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return zuko.flows.MAF(
            dim, transforms=TRANSFORMS, univariate=_gaussianization(), shapes=[(COMPONENTS,), (COMPONENTS,)],
            hidden_features=(units, units), activation=torch.nn.Tanh,
        )  # fmt: skip


def _gaussianization() -> type:
    """``y`` with ``N(y) = mean_k N(u_k)``, ``u_k = exp(a_k) x + b_k`` and ``N`` the normal distribution function.

    That of zuko is infinite from eight standard deviations on; from the tail that is the smaller it goes on to 37.
    """
    from zuko.transforms import GaussianizationTransform

    class Gaussianization(GaussianizationTransform):
        def f(self, x: torch.Tensor) -> torch.Tensor:
            u = x.unsqueeze(-1) * self.scale + self.shift
            side = torch.where(torch.special.ndtr(u).mean(-1) > 0.5, -1.0, 1.0).to(x).detach()
            tail = torch.special.ndtr(side.unsqueeze(-1) * u).mean(-1).clamp_min(1e-300)
            return side * torch.special.ndtri(tail)

    return Gaussianization


def _copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

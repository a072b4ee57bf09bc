"""``fit_landscape``: from samples to a landscape."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pyness.checkpoint import read_checkpoint, write_checkpoint
from pyness.devices import usable
from pyness.errors import InputError
from pyness.estimators.score_free import check_samples
from pyness.landscape.assembly import Material, assemble
from pyness.landscape.collective import Collective
from pyness.landscape.flow import fit_flow
from pyness.landscape.landscape import Landscape
from pyness.landscape.network import NAMES, Network
from pyness.landscape.newton import PATIENCE, Problem, State
from pyness.landscape.objective import Residual
from pyness.landscape.options import resolve_options
from pyness.landscape.reduced import ReducedLandscape, reduce_system
from pyness.landscape.uncertainty import deviations
from pyness.sampling import Samples
from pyness.systems import System
from pyness.systems.positivity import lowest_diffusion

__all__ = ["fit_landscape"]

SINGULAR = 1e-9
#: What ``System.with_noise`` adds to a name.
_NOISIER = r" x[0-9.e+-]+(?= |$)"
STATE = tuple(field.name for field in fields(State))


def fit_landscape(
    system: System,
    samples: Samples,
    seed: int = 0,
    *,
    method: str = "enhanced",
    units: int | None = None,
    steps: int | None = None,
    points: int | None = None,
    contrast: int | None = None,
    widening: float | None = None,
    held_out: float = 0.5,
    reduce: Any = None,
    start: Landscape | None = None,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Landscape:
    """Learn the potential landscape of ``system`` from ``samples`` of its steady state.

    ``"enhanced"``: EPR loss on the samples, contrast with a known density (which fixes the depths of basins), HJB
    residual on widened states, no flux through reflecting walls; solved by a Levenberg-Marquardt method, see
    ``pyness.landscape.newton``. Beyond four dimensions it starts from a mixture of Gaussians fitted to the samples
    and the laws of fast coordinates, or from the nearest quadratic, whichever has the lower EPR loss.

    Baselines: ``"epr"``, the EPR loss alone; ``"hjb"``, the residual and the walls alone, from the same start as
    ``"enhanced"``, since from a cold one it stalls; ``"flow"``, a normalising flow fitted to the samples by
    likelihood, which does not look at the drift at all.

    Args:
        samples: at least a few thousand walkers; half of them (``held_out``) are kept for the report.
        seed: of everything random in the training.
        method: ``"enhanced" | "epr" | "hjb" | "flow"``. Options that a method has no use for are refused.
        units: tanh units of the network (100; in three dimensions 150, beyond them 480 / d but at least 20); of a flow
            in each of two layers (64).
        steps: Levenberg-Marquardt steps at the most (100; in three or four dimensions 150, beyond 24 of them 10),
            fewer once nothing changes; of a flow Adam steps (1000).
        points: states at which the residual is taken (10 000).
        contrast: samples, and reference points, of the contrast (40 000).
        widening: noise of the widened states, in units of the system's (4, in more than four dimensions 1 + 6 / d).
        held_out: fraction of walkers that training does not see.
        reduce: learn the landscape of up to three collective variables instead: names of coordinates, a ``(k, d)``
            matrix, or a function ``(..., d) -> (..., k)``; see ``pyness.landscape.ReducedLandscape``.
        start: a landscape of the same equations (system and coordinates have the same names; parameters may differ)
            at larger noise to begin from; not of a flow, nor for one.
        device: where to compute.
        checkpoint: file that training goes on from with ``resume=True``, bit for bit.
        log: JSON-lines file, one record per step.
        progress: show a progress bar on standard error, where that is a terminal.

    Raises:
        UnknownNameError: no such method.
        InputError: options out of range or of another method, samples of another dimension, a start of another system,
            a device that is not here.
        StoreError: a checkpoint that is damaged or of another training.
        TrainingError: the potential became non-finite.
    """
    options = {
        "method": method, "units": units, "steps": steps, "points": points, "contrast": contrast, "widening": widening,
        "held_out": held_out, "reduce": reduce,
    }  # fmt: skip
    options = resolve_options(seed, options, system)
    if start is not None and method == "flow":
        raise InputError(f"start is {start!r}, but method 'flow' begins from nothing", "leave start out")
    _check(system, samples)
    metadata = {"options": options, "seed": seed, "samples": samples.fingerprint}
    training, reduction, own = samples.split(options["held_out"], seed=seed)[1].to(usable(device)), None, samples
    material = Material.of(system, training)
    if reduce is not None:
        reduction = reduce_system(system, Collective(system, reduce), training, seed, options.get("widening"))
        material = material.reduced(reduction)
        system, training, own = reduction.system, material.training, reduction.samples(samples)
        options["reduce"] = reduction.collective.record
    if start is not None:
        metadata["start"] = _fingerprint(system, start, options.get("reduce"))
    files = {"checkpoint": checkpoint, "log": log, "resume": resume, "progress": progress}
    moved = None
    if options["method"] == "flow":
        network = fit_flow(system, training, seed, options, metadata, device=device, **files)
    else:
        network, moved = _descend(material, own, seed, metadata, start, **files)
    states = training.states.reshape(-1, system.dim).double()
    potential = torch.cat([network.value(network.places(part, 0)) for part in states.split(8192)])
    lowest, at = potential.min().item(), states[potential.argmin()]
    uncertainty = {} if moved is None else {"deviations": moved, "lowest_at": at}
    if reduction is not None:
        return ReducedLandscape(reduction, network, lowest, metadata, uncertainty, samples)
    return Landscape(system, network, lowest, metadata, uncertainty, samples)


def _descend(
    material: Material,
    samples: Samples,
    seed: int,
    metadata: dict[str, Any],
    start: Landscape | None,
    *,
    checkpoint: str | Path | None,
    log: str | Path | None,
    resume: bool,
    progress: bool,
) -> tuple[Network, torch.Tensor | None]:
    """The network at the end of the Levenberg-Marquardt iteration, which may go on from a checkpoint.

    With it how far its weights would move with other walkers, see ``pyness.landscape.uncertainty``.
    """
    options = metadata["options"]
    stored = read_checkpoint(checkpoint, metadata, STATE) if resume else None
    state = State(**stored) if stored else None
    steps = options["steps"]
    with tqdm(total=steps + 1, desc="training", disable=None if progress else True, unit="step") as bar:
        network, problem = assemble(material, seed, options, start)
        bar.update(1)
        if state is None:
            state = State(parameters=network.parameters)
            _truncate(log)
        else:
            state.parameters = state.parameters.to(material.training.states.device)
            bar.update(state.step)
        held_out = samples.split(options["held_out"], seed=seed)[0]
        after = _recorder(problem, network, material.system, held_out, metadata, checkpoint, log, bar)
        network = problem.run(network, state, steps, after)
        return network, deviations(problem, network)


def _check(system: System, samples: Samples) -> None:
    check_samples(system, samples)
    if not system.diffusion.invertible:
        raise InputError(
            f"system {system.name!r} has coordinates without noise", "learn its score instead: pyness.fit_score"
        )
    if not system.diffusion.constant:
        found, scale, where = lowest_diffusion(system.diffusion, system.domain)
        if not found > SINGULAR * scale:
            place = [round(x, 4) for x in where.tolist()]
            raise InputError(
                f"system {system.name!r} has no noise in some direction at x = {place}",
                "take a D(x) or a domain where it stays positive",
            )
    if samples.walkers < 4:
        raise InputError(f"{samples.walkers} walkers", "give some thousands of independent walkers")


def _fingerprint(system: System, start: Landscape, reduce: Any = None) -> str:
    """What tells one start from another.

    Raises:
        InputError: not a landscape of this kind, or of other equations.
    """
    tensors = start.network.tensors if isinstance(start, Landscape) else {}
    if set(NAMES) - set(tensors):
        raise InputError(f"start is {start!r}", "give a landscape of pyness.fit_landscape, no flow")
    mine, theirs = ((re.sub(_NOISIER, "", s.name), s.variables, s.domain.boundary) for s in (system, start.system))
    if mine != theirs:
        raise InputError(
            f"start is a landscape of {start.system.name!r} ({_coordinates(start.system)}), this is {system.name!r} "
            f"({_coordinates(system)})",
            "give one of the same equations and coordinates at another noise",
        )
    before = start.metadata["options"].get("reduce")
    if before != reduce:
        raise InputError(f"start is reduced to {before!r}, this to {reduce!r}", "give one of the same coordinates")
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _coordinates(system: System) -> str:
    """Them, of many the first."""
    names, kinds = system.variables, system.domain.boundary
    some = ", ".join(f"{name} {kind}" for name, kind in zip(names[:3], kinds, strict=False))
    return f"d={system.dim}: {some}" + (", ..." if system.dim > 3 else "")


def _recorder(
    problem: Problem,
    network: Network,
    system: System,
    held_out: Samples,
    metadata: dict[str, Any],
    checkpoint: str | Path | None,
    log: str | Path | None,
    bar: tqdm,
) -> Callable[[State, Network, dict[str, float]], None]:
    """What happens after each step: the certificate on a part of the held-out walkers, log, checkpoint, progress."""
    residual = None
    if not system.domain.walled:
        judged = held_out.states[:2000, -1].double().to(network.tensors["weights"])
        residual = Residual(network, system, judged, problem.rate)

    def after(state: State, network: Network, parts: dict[str, float]) -> None:
        record = {"step": state.step, **parts}
        if residual is not None:
            # minus the mean residual is the gradient error (landscapes.md, 3.3); walls add terms: see the report
            record["gradient_error"] = -residual.residual(network).mean().item() / problem.rate
        if log is not None:
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        if checkpoint is not None:
            stored = {name: getattr(state, name) for name in STATE} | {"parameters": state.parameters.cpu()}
            write_checkpoint(checkpoint, stored, metadata)
        shown = "hjb" if "hjb" in parts else "epr"
        bar.set_postfix({shown: f"{parts[shown]:.1e}"}, refresh=False)
        bar.update(1)
        if state.settled >= PATIENCE:
            bar.total = bar.n

    return after


def _truncate(log: str | Path | None) -> None:
    if log is not None:
        Path(log).write_text("", encoding="utf-8")

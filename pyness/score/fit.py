"""``fit_score``: from samples to a score."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from pyness.checkpoint import read_checkpoint, write_checkpoint
from pyness.devices import usable
from pyness.errors import TrainingError
from pyness.estimators.score_free import check_samples, fisher_per_walker
from pyness.files import write_whole
from pyness.sampling import Samples
from pyness.score import losses
from pyness.score.distributed import average_gradients, own_device, rank_and_size
from pyness.score.labels import Labels
from pyness.score.networks import build
from pyness.score.probing import few
from pyness.score.resolve import resolve
from pyness.score.score import Score
from pyness.systems import ParticleSystem, System

__all__ = ["fit_score"]

#: Particles of all states that paths are followed from, at the most, unless told.
FOLLOWED = 300_000
LOOKS = 20
#: Numbers of states by which training is judged as it goes on, if as many as two batches, and no more than this share
#: of those that are learnt from between two looks: with derivatives a state costs more than learning from it.
JUDGED, LOOKED_AT = 1 << 15, 0.25
#: Numbers kept of the training states of a dense network at the most.
REMEMBERED = 40_000_000
#: Numbers of training states that a network may keep made ready, which takes some hundred times as many.
BUNDLED = 1 << 21


def fit_score(
    system: System,
    samples: Samples,
    seed: int = 0,
    *,
    arch: str | None = None,
    loss: str | None = None,
    alpha: float | None = None,
    paths: int | None = None,
    perturb: str = "g",
    residual: float | None = None,
    shift: str | None = None,
    steps: int | None = None,
    batch: int | None = None,
    accumulate: int = 1,
    learning_rate: float | None = None,
    warm_up: float = 0.05,
    average: float = 0.995,
    clip: float = 1.0,
    probes: int = 1,
    held_out: float = 0.5,
    width: int | None = None,
    depth: int | None = None,
    gradient: bool | None = None,
    radius: float | None = None,
    channels: int | None = None,
    hidden: int | None = None,
    rounds: int | None = None,
    pasts: bool | None = None,
    equivariant: bool | None = None,
    neighbours: int | None = None,
    blocks: int | None = None,
    heads: int | None = None,
    order: int | None = None,
    device: str = "cpu",
    precision: str = "float32",
    checkpoint: str | Path | None = None,
    log: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Score:
    """Learn ``grad log p`` of ``system`` from ``samples`` of its steady state.

    Adam with a cosine schedule after a warm-up, gradients clipped, weights averaged. Launched by ``torchrun`` each
    process draws its own batches and gradients are averaged.

    Args:
        seed: of everything random in the training.
        arch: ``"dense"`` (few coordinates), ``"contacts"`` (particles without noise of positions), ``"attention"``
            (particles), ``"local-transformer"`` (the published one).
        loss: ``"implicit"``: score matching with derivatives, no bias; ``"paths"``, where only activities have noise,
            and there the default of ``"contacts"`` and of gradients: least squares on values from short paths with
            recorded noise (``pyness.score.paths``), no bias and far less scatter; ``"drift"``, of gradients where all
            coordinates have noise, and there the default of ``"attention"``: the implicit one without divergences,
            right where samples are stationary; ``"denoising"``: of samples moved by ``alpha``, the score of the
            smoothed density; ``"dynamics"``: by the noise of a step ``alpha``.
        alpha: width of the smoothing, or the time step; needed by the last two.
        paths: how many states ``"paths"`` begins from; all there are, up to ``FOLLOWED`` particles.
        perturb: ``"g"`` or ``"xg"``: what denoising moves. Moving positions hides all that varies within ``alpha``.
        residual: weight of the mean squared stationarity residual beside the implicit loss, where all coordinates
            have noise; ``resolve.RESIDUAL`` for ``"dense"``, else 0.
        shift: the part that is known, see ``pyness.score.shift.choose``.
        steps, batch, learning_rate: batches are counted in particles (in states for ``"dense"``).
        accumulate: batches of which each step takes the mean.
        warm_up: share of the steps in which the rate rises.
        average: decay of the averaged weights, which are the result.
        clip: largest norm of a gradient.
        probes: random directions for derivatives with respect to positions.
        held_out: fraction of walkers that training does not see.
        width, depth, radius, channels, hidden, rounds, equivariant, neighbours, blocks, heads, order: of the
            architecture.
        gradient: of ``"dense"`` and ``"attention"``: the score is the gradient of one number, so that where all
            coordinates have noise its defect is 0. Of ``"attention"`` (``pyness.score.energy``) an evaluation takes
            three times as long; default of ``"dense"`` alone.
        pasts: of ``"contacts"``: told by the likeliest past of each state (``pyness.score.pasts``), which leaves two
            thirds of the error in phase separation and makes an evaluation eight times as long.
        device: where the network is trained; ``"cuda"`` of several processes is each one's own. Paths are followed on
            the CPU, whatever it is.
        precision: ``"float32"`` or ``"bfloat16"`` (with float32 weights).
        checkpoint: file that training goes on from with ``resume=True``, bit for bit.
        log: JSON-lines file with the loss and the error of the averaged score on held-out states.

    Raises:
        InputError, UnknownNameError: options out of range or unknown, samples of another system.
        StoreError: a checkpoint that is damaged or of another training.
        TrainingError: the loss became non-finite.
    """
    check_samples(system, samples)
    given = {"width": width, "depth": depth, "gradient": gradient, "radius": radius, "channels": channels,
             "hidden": hidden, "rounds": rounds, "pasts": pasts, "equivariant": equivariant, "neighbours": neighbours,
             "blocks": blocks, "heads": heads, "order": order}  # fmt: skip
    given |= {
        "arch": arch, "shift": shift, "loss": loss, "alpha": alpha, "paths": paths, "perturb": perturb,
        "residual": residual, "steps": steps, "batch": batch, "accumulate": accumulate,
        "learning_rate": learning_rate, "warm_up": warm_up, "average": average, "clip": clip, "probes": probes,
        "held_out": held_out, "precision": precision,
    }  # fmt: skip
    network, known, options = resolve(system, samples, seed, given)
    device = own_device(usable(device))
    metadata = {
        "network": network, "shift": known, "options": options, "seed": seed, "samples": samples.fingerprint,
    }  # fmt: skip
    # paths are followed there, and of states only batches go to the device
    judged, training = samples.to("cpu").split(held_out, seed=seed)
    model = build(system, network, metadata["shift"], seed)
    model.calibrate(training)
    trainer = _Trainer(system, model.to(device), training, judged, metadata, device)
    if resume:
        trainer.restore(read_checkpoint(checkpoint, trainer.identity, trainer.content()))
    trainer.run(checkpoint, log, progress)
    return Score(system, trainer.averaged(), metadata, samples)


class _Trainer:
    """One training: the network, its averaged weights, and the step it is at; everything random follows from both."""

    def __init__(
        self, system: System, model: nn.Module, training: Samples, judged: Samples, metadata: dict[str, Any],
        device: torch.device,
    ) -> None:  # fmt: skip
        self.system, self.model, self.metadata, self.options = system, model, metadata, metadata["options"]
        self.device = device
        self.states = training.states.reshape(-1, training.dim)
        particles = system.n_particles if isinstance(system, ParticleSystem) and system.n_particles > 2 else 1
        self.rows = max(1, round(self.options["batch"] / particles))
        self.exact = metadata["network"]["arch"] == "dense" or few(system.split(self.states[:1])[0].shape)
        self.fisher = fisher_per_walker(system, training).mean().item()
        if not self.fisher > 0:
            raise TrainingError(f"-E[div F] comes out as {self.fisher:.3g}", "the samples are of no steady state")
        self.judged = self._subset(judged)
        # what the implicit loss of the truth is on just these states
        self.baseline = system.drift_divergence(self.judged.double()).mean().item()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=self.options["learning_rate"], betas=(0.9, 0.99))
        self.average = {name: p.detach().clone() for name, p in model.state_dict().items()}
        self.step = 0
        self.rank, self.size = rank_and_size(self.device)
        self.labels: Labels | None = None
        if self.options["loss"] == "paths":
            count = self.options["paths"] or max(1, min(len(self.states), FOLLOWED // particles))
            self.labels = Labels(system, training, count, metadata["seed"], self.rank, self.size)
        self.mask = self._mask()
        self.known = self._known()
        self.bundles = () if self.labels else self._bundles()
        self.prepared: dict[int, Any] = {}

    def _subset(self, judged: Samples) -> torch.Tensor:
        flat = judged.states.reshape(-1, judged.dim)
        learnt = self.rows * self.options["accumulate"] * self.options["steps"] / LOOKS
        room = max(1, min(len(flat), int(LOOKED_AT * learnt), max(2 * self.rows, JUDGED // self.system.dim)))
        chosen = torch.linspace(0, len(flat) - 1, room).round().long()
        return flat[chosen].to(self.device)

    def _known(self) -> dict[str, torch.Tensor]:
        """What a dense network has worked out of the states once and for all; they are thinned to fit the memory."""
        if not hasattr(self.model, "lift") or self.options["loss"] != "implicit":
            return {}
        entries = sum(value.numel() for value in self.model.lift(self.states[:1].to(self.device)).values())
        self.states = self.states[:: max(1, math.ceil(len(self.states) * entries / REMEMBERED))]
        parts = [self.model.lift(part.to(self.device)) for part in self.states.split(8192)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    @property
    def room(self) -> int:
        """How many batches may be kept made ready."""
        return max(1, BUNDLED // (self.rows * self.system.dim))

    def _bundles(self) -> tuple[torch.Tensor, ...]:
        """Batches that a network makes ready once and keeps, where it can; their random signs are kept with them."""
        if not hasattr(self.model, "prepare") or self.options["loss"] not in ("implicit", "paths"):
            return ()
        count = len(self.states) // self.rows
        if self.labels is None:  # no more than are kept; each path was followed at some cost, and all of them are used
            count = min(count, self.room)
        generator = torch.Generator().manual_seed(self.metadata["seed"] + self.rank)
        order = torch.randperm(len(self.states), generator=generator)
        return order[: max(1, count) * self.rows].split(self.rows)

    def _batch(self, part: int) -> tuple[torch.Tensor, dict[str, Any]]:
        """States of a batch, and what is known of them."""
        if not self.bundles:
            rows = torch.randint(len(self.states), (self.rows,), generator=self._generator(0, part))
            return self.states[rows].to(self.device), {name: value[rows] for name, value in self.known.items()}
        # each bundle once before any comes again
        turn, place = divmod(self.step * self.options["accumulate"] + part, len(self.bundles))
        generator = torch.Generator().manual_seed(self.metadata["seed"] * 1009 + turn)
        number = torch.randperm(len(self.bundles), generator=generator)[place].item()
        states = self.states[self.bundles[number]].to(self.device)
        ready = self.prepared.get(number)
        if ready is None:
            generator = torch.Generator(self.device).manual_seed(self.metadata["seed"] * 100_003 + number)
            ready = self.model.prepare(states, generator, self.options["probes"] if self.labels is None else 0)
            if number < self.room:
                self.prepared[number] = ready
        known = {"prepared": ready}
        if self.labels is not None:
            known["targets"] = self.known["targets"][self.bundles[number]]
        return states, known

    def _mask(self) -> torch.Tensor:
        """What denoising perturbs."""
        everything = torch.ones(self.system.dim, dtype=torch.bool)
        if self.options["perturb"] == "g" and isinstance(self.system, ParticleSystem):
            everything[: self.system.n_particles * self.system.space_dim] = False
        return everything

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this training from others: each process draws its own batches, so their number counts."""
        return {**self.metadata, "processes": self.size}

    def restore(self, content: dict[str, Any] | None) -> None:
        if content is None:
            return
        self.step = content["step"]
        self.model.load_state_dict(content["model"])
        self.average = {name: t.to(self.device) for name, t in content["average"].items()}
        self.optimizer.load_state_dict(content["optimizer"])
        if self.labels is not None and self.rank == 0:
            self.labels.restore(content["labels"])

    def averaged(self) -> nn.Module:
        self.model.load_state_dict(self.average)
        return self.model.eval().requires_grad_(False)

    def run(self, checkpoint: str | Path | None, log: str | Path | None, progress: bool) -> None:
        steps = self.options["steps"]
        every = max(1, steps // LOOKS)
        main = self.rank == 0
        if log is not None and self.step == 0 and main:
            write_whole({log: ""}, "give a path that can be written")
        if self.labels is not None:
            self._follow(checkpoint, progress and main)
        bar = tqdm(
            total=steps, initial=self.step, desc="training", disable=None if progress and main else True, unit="step"
        )
        with bar:
            while self.step < steps:
                value = self._one()
                self.step += 1
                bar.update(1)
                if main and (self.step % every == 0 or self.step == steps):
                    record = {"step": self.step, "loss": value, "gradient_error": self._error()}
                    bar.set_postfix(error=f"{record['gradient_error']:.3g}", refresh=False)
                    if log is not None:
                        with Path(log).open("a", encoding="utf-8") as file:
                            file.write(json.dumps(record) + "\n")
                    if checkpoint is not None:
                        write_checkpoint(checkpoint, self.content(), self.identity)

    def _follow(self, checkpoint: str | Path | None, progress: bool) -> None:
        """Put the ends of paths in the place of the states, with their targets."""

        def kept() -> None:
            if checkpoint is not None and self.rank == 0:
                write_checkpoint(checkpoint, self.content(), self.identity)

        self.labels.make(kept, progress)
        self.states, self.known = self.labels.states, {"targets": self.labels.targets.to(self.device)}
        self.bundles = self._bundles()

    def content(self) -> dict[str, Any]:
        content = {
            "step": self.step, "model": self.model.state_dict(), "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }  # fmt: skip
        return content if self.labels is None else {**content, "labels": self.labels.content()}

    def _generator(self, purpose: int, part: int = 0) -> torch.Generator:
        """Randomness of this step: the same whether or not the training was interrupted."""
        stride = max(64, 2 * self.options["accumulate"])  # no part of a step is drawn again in the next
        seed = (self.metadata["seed"] * 1_000_003 + self.step * stride + part * 2 + purpose) * 1009 + self.rank
        return torch.Generator(self.device if purpose else "cpu").manual_seed(seed % (1 << 63))

    def _one(self) -> float:
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = options["learning_rate"] * self._schedule()
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for part in range(options["accumulate"]):
            states, known = self._batch(part)
            with self._precision():
                loss = self._loss(states, self._generator(1, part), known)
            (loss / options["accumulate"]).backward()
            total += loss.item() / options["accumulate"]
        if not math.isfinite(total):
            raise TrainingError(f"the loss is {total} at step {self.step}", "take a smaller learning_rate or clip")
        average_gradients(self.model, self.size)
        nn.utils.clip_grad_norm_(self.model.parameters(), options["clip"])
        self.optimizer.step()
        decay = min(options["average"], (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value.detach(), 1 - decay)
        return total

    def _schedule(self) -> float:
        steps = self.options["steps"]
        rising = self.options["warm_up"] * steps
        if self.step < rising:
            return (self.step + 1) / (rising + 1)
        return 0.5 * (1 + math.cos(math.pi * (self.step - rising) / max(1, steps - rising)))

    def _loss(self, states: torch.Tensor, generator: torch.Generator, known: dict[str, Any]) -> torch.Tensor:
        options, system = self.options, self.system
        if options["loss"] == "implicit":
            value, residual = losses.implicit(
                self.model, system, states, generator, probes=options["probes"], residual=options["residual"] > 0,
                **known,
            )  # fmt: skip
            value = value / self.fisher
            if options["residual"]:
                # where derivatives are taken along random directions, two that are independent make their product
                # unbiased, which a square is not
                again = residual if self.exact else losses.implicit(
                    self.model, system, states, generator, probes=options["probes"], residual=True
                )[1]  # fmt: skip
                value = value + options["residual"] * losses.stationarity_residual(residual, again, self.fisher)
            return value.mean()
        if options["loss"] == "paths":
            value = losses.paths(self.model, system, states, **known)
        elif options["loss"] == "drift":
            value = losses.drift(self.model, system, states)
        elif options["loss"] == "denoising":
            value = losses.denoising(self.model, system, states, generator, alpha=options["alpha"], mask=self.mask)
        else:
            value = losses.dynamics(self.model, system, states, generator, dt=options["alpha"])
        return value.mean() / self.fisher

    @contextmanager
    def _precision(self) -> Iterator[None]:
        if self.options["precision"] == "float32":
            yield
        else:
            with torch.autocast(self.device.type, torch.bfloat16):
                yield

    def _error(self) -> float:
        """``E|s_t - s|_D^2 / -E[div F]`` of the averaged weights on held-out states, up to its sampling error."""
        now = {name: p.detach().clone() for name, p in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        generator = torch.Generator(self.device).manual_seed(self.metadata["seed"])
        with torch.no_grad():
            parts = []
            for place, part in enumerate(self.judged.split(self.rows)):
                if -1 - place not in self.prepared:
                    if self.bundles:
                        self.prepared[-1 - place] = {"prepared": self.model.prepare(part, generator, 2)}
                    else:
                        self.prepared[-1 - place] = self.model.lift(part) if hasattr(self.model, "lift") else {}
                known = self.prepared[-1 - place]
                parts.append(losses.implicit(self.model, self.system, part, generator, probes=2, **known)[0])
        self.model.load_state_dict(now)
        return (torch.cat(parts).mean().item() - self.baseline) / self.fisher

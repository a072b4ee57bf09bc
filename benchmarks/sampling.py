"""Throughput on the limit cycle, walker-steps per second, all contenders in turns in one run.

    python benchmarks/sampling.py [--threads 2] [--repeats 3] [--steps 60000] [--only torch,julia]

With Euler-Maruyama: `eager` is the loop one would write with torch in a notebook, `torch` and `julia` are pyness's
engines, `loop` is a threaded Julia loop written by hand (a generator a thread, static vectors, no solver), `torchsde`
and `diffrax` are those. With stochastic Runge-Kutta at the same step: `SRA1`, `SOSRA`, `SOSRI`, `SRIW1` of the Julia
engine, `loop-SOSRA` by hand, `torchsde-SRA1`, `diffrax-SRA1`. torchsde and diffrax take part where they are installed
(`pip install -c constraints.txt torchsde diffrax`), Julia where one is configured; who is absent is named and left
out. Times are taken after a first, shorter run, so that compiling is not in them. The last table divides by the best of
each: others at work on the machine only ever slow a turn down.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch

from pyness import systems
from pyness.sampling import sample

WALKERS, DT = 10_000, 1e-3
CPU = False
JULIA_SOLVERS = ("SRA1", "SOSRA", "SOSRI", "SRIW1")
#: What each is measured against; the others against the first.
REFERENCES = dict.fromkeys((*JULIA_SOLVERS, "torchsde-SRA1", "diffrax-SRA1", "loop-SOSRA"), "loop-SOSRA")

#: The limit cycle with its published parameters in `p`, and steps of EM and of SOSRA with reflecting walls.
LOOP = """
module HandWritten
using PyNESS: SVector
using Random
using Base.Threads
drift(u, p) = (s = u[1]^2; SVector(
    100 * ((p[1]^2 + s) / ((1 + s) * (1 + u[2])) - p[2] * u[1]), 100 / p[3] * (p[4] - u[2] / (1 + p[5] * s))))
fold(x) = x < 0 ? -x : x > 8 ? 16 - x : x
function em(u, p, dt, noise, steps, rng)
    for _ in 1:steps
        u = fold.(u + dt * drift(u, p) + noise * randn(rng, SVector{2, Float64}))
    end
    return u
end
function sosra(u, p, dt, noise, steps, rng)
    for _ in 1:steps
        kick = noise * randn(rng, SVector{2, Float64})
        lean = kick / 2 + noise / sqrt(12) * randn(rng, SVector{2, Float64})
        f1 = drift(u, p)
        v = u + dt * 0.6923962376159507 * f1 + 1.3371632704399763 * lean
        f2 = drift(clamp.(v, 0.0, 8.0), p)
        v = u + dt * (4.1609142252828395 * f2 - 3.1609142252828395 * f1) + 3.3056451985980922 * lean
        f3 = drift(clamp.(v, 0.0, 8.0), p)
        u = fold.(u + dt * (0.2889874966892885 * f1 + 0.6859880440839937 * f2 + 0.025024459226717772 * f3) + kick)
    end
    return u
end
function run!(states, walk, p, dt, noise, steps)
    @threads :static for part in 1:nthreads()
        rng = Xoshiro(part)
        for w in part:nthreads():size(states, 2)
            states[:, w] = walk(SVector{2}(states[1, w], states[2, w]), p, dt, noise, steps, rng)
        end
    end
    return nothing
end
end
"""


def clock() -> float:
    """Seconds, or those that this process and Julia's have computed (``--clock cpu``)."""
    if not CPU:
        return time.perf_counter()
    from pyness.sampling.engines.julia import runtime

    spent = time.process_time()
    for session in runtime._sessions.values():
        words = Path(f"/proc/{session.pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def eager(steps: int) -> float:
    """Seconds of the loop one would write in a notebook."""
    system = systems.get("limit-cycle")
    generator = torch.Generator().manual_seed(0)
    x = 8 * torch.rand(WALKERS, 2, generator=generator)
    amplitude = (2 * system.diffusion.scalar * DT) ** 0.5
    begin = clock()
    with torch.no_grad():
        for _ in range(steps):
            x = x + DT * system.drift(x) + amplitude * torch.randn(x.shape, generator=generator)
            x = torch.where(x < 0, -x, x)
            x = torch.where(x > 8, 16 - x, x)
    return clock() - begin


def engine(name: str, solver: str = "EM") -> Callable[[int], float]:
    """Seconds of a call of ``sample``."""
    system = systems.get("limit-cycle")  # one for all runs: what is compiled belongs to it

    def run(steps: int) -> float:
        fixed = {} if solver == "EM" else {"adaptive": False}
        spec = f"{solver}:" + ",".join(f"{k}={v}".lower() for k, v in {**fixed, "dt": DT}.items())
        begin = clock()
        sample(
            system, spec, name, walkers=WALKERS, burn_in=0.9 * steps * DT, snapshots=10,
            spacing=0.01 * steps * DT, dtype="float32" if name == "torch" else "float64", progress=False,
        )  # fmt: skip
        return clock() - begin

    return run


def loop(method: str = "em") -> Callable[[int], float]:
    """Seconds of the threaded Julia loop written by hand, in double precision."""
    from pyness.sampling.engines.julia.runtime import Code, start

    session, p = start(), systems.get("limit-cycle").parameters
    session.include(LOOP)
    states = session.empty((WALKERS, 2), torch.float64)
    values = [float(p[name]) for name in ("eps", "a", "tau0", "b", "c")]

    def run(steps: int) -> float:
        states.uniform_(0, 8)
        begin = clock()
        session.call(
            "HandWritten.run!", states, Code(f"HandWritten.{method}"), values, DT, (2 * p["D"] * DT) ** 0.5, steps
        )
        return clock() - begin

    return run


def with_torchsde(method: str = "euler") -> Callable[[int], float]:
    """Seconds of `torchsde.sdeint`, in single precision, without walls; its "srk" is SRA1 where noise is additive."""
    import torchsde

    system = systems.get("limit-cycle")

    class Equation(torch.nn.Module):
        noise_type, sde_type = "diagonal" if method == "euler" else "additive", "ito"

        def f(self, t, x):
            return system.drift(x)

        def g(self, t, x):
            amplitude = (2 * system.diffusion.scalar) ** 0.5
            return torch.full_like(x, amplitude) if method == "euler" else amplitude * torch.eye(2).expand(len(x), 2, 2)

    def run(steps: int) -> float:
        steps = min(steps, 2000)
        start = 8 * torch.rand(WALKERS, 2)
        begin = clock()
        with torch.no_grad():
            torchsde.sdeint(Equation(), start, torch.tensor([0.0, steps * DT]), method=method, dt=DT)
        return clock() - begin

    run.longest = 2000
    return run


def with_diffrax(tree: bool = False, method: str = "Euler") -> Callable[[int], float]:
    """Seconds of diffrax, compiled and vectorised over walkers, in single precision, without walls."""
    import diffrax
    import jax
    import jax.numpy as jnp

    p = systems.get("limit-cycle").parameters

    def drift(t, u, args):
        x, y = u[0], u[1]
        s = x * x
        f = 100 * ((p["eps"] ** 2 + s) / ((1 + s) * (1 + y)) - p["a"] * x)
        return jnp.stack([f, 100 / p["tau0"] * (p["b"] - y / (1 + p["c"] * s))])

    longest = 200 if tree else 10_000

    def solve(u, key, steps):
        shape = jax.ShapeDtypeStruct((2,), jnp.float32)
        path = (
            diffrax.VirtualBrownianTree(0.0, longest * DT, tol=DT / 2, shape=shape, key=key)
            if tree
            else diffrax.UnsafeBrownianPath(
                shape, key, diffrax.SpaceTimeLevyArea if method == "SRA1" else diffrax.BrownianIncrement
            )
        )
        noise = (2 * p["D"]) ** 0.5
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(drift), diffrax.ControlTerm(lambda t, u, args: noise * jnp.eye(2), path)
        )
        found = diffrax.diffeqsolve(
            terms, getattr(diffrax, method)(), 0.0, steps * DT, DT, u, max_steps=None, adjoint=diffrax.ForwardMode()
        )
        return found.ys[-1]

    compiled = jax.jit(jax.vmap(solve, in_axes=(0, 0, None)))

    def run(steps: int) -> float:
        keys = jax.random.split(jax.random.PRNGKey(0), WALKERS)
        start = 8 * jax.random.uniform(jax.random.PRNGKey(1), (WALKERS, 2))
        begin = clock()
        compiled(start, keys, float(min(steps, longest))).block_until_ready()
        return clock() - begin

    run.longest = longest
    return run


def contenders(wanted: set[str] | None) -> dict[str, Callable[[int], float]]:
    """Those that can take part, by name."""
    from pyness.sampling.engines.julia import ready

    makers: dict[str, tuple[bool, Callable[[], Callable[[int], float]]]] = {
        "eager": (True, lambda: eager),
        "torch": (True, lambda: engine("torch")),
        "loop": (ready(), loop),
        "loop-SOSRA": (ready(), lambda: loop("sosra")),
        "julia": (ready(), lambda: engine("julia")),
        **{name: (ready(), lambda name=name: engine("julia", name)) for name in JULIA_SOLVERS},
        "torchsde": (find_spec("torchsde") is not None, with_torchsde),
        "torchsde-SRA1": (find_spec("torchsde") is not None, lambda: with_torchsde("srk")),
        "diffrax": (find_spec("diffrax") is not None, with_diffrax),
        "diffrax-tree": (find_spec("diffrax") is not None, lambda: with_diffrax(tree=True)),
        "diffrax-SRA1": (find_spec("diffrax") is not None, lambda: with_diffrax(method="SRA1")),
    }
    chosen = {name: maker for name, maker in makers.items() if wanted is None or name in wanted}
    absent = [name for name, (here, _) in chosen.items() if not here]
    if absent:
        print(f"absent: {', '.join(absent)}")
    return {name: make() for name, (here, make) in chosen.items() if here}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60_000, help="steps of a run; slow contenders take fewer")
    parser.add_argument("--only", type=lambda text: set(text.split(",")), help="contenders, with commas between")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: on a machine that others use")
    arguments = parser.parse_args()
    global CPU
    CPU = arguments.clock == "cpu"
    torch.set_num_threads(arguments.threads)
    os.environ["JULIA_NUM_THREADS"] = str(arguments.threads)
    if "jax" not in sys.modules:
        os.environ.setdefault("XLA_FLAGS", f"--xla_cpu_multi_thread_eigen={str(arguments.threads > 1).lower()}")
    racing = contenders(arguments.only)
    for run in racing.values():
        run(min(arguments.steps, getattr(run, "longest", arguments.steps)) // 10)
    speeds: dict[str, list[float]] = {name: [] for name in racing}
    for turn in range(arguments.repeats):
        for name, run in racing.items():
            steps = min(arguments.steps, getattr(run, "longest", arguments.steps))
            speeds[name].append(WALKERS * steps / run(steps))
        print(f"turn {turn + 1}: " + ", ".join(f"{name} {found[-1]:.3g}" for name, found in speeds.items()), flush=True)
    best = {name: max(found) for name, found in speeds.items()}
    first = "loop" if "loop" in best else next(iter(best))
    how = f"best of {arguments.repeats} turns, {arguments.threads} threads"
    print(f"walker-steps per {'CPU ' if CPU else ''}second, {how} (float64 in Julia, else float32)")
    for name, speed in best.items():
        other = REFERENCES.get(name, first)
        other = other if other in best else first
        print(f"  {name:14s} {speed:10.3g}   {best[other] / speed:6.2f} times as long as {other}")


if __name__ == "__main__":
    main()

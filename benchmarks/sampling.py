"""Throughput of Euler-Maruyama on the limit cycle, walker-steps per second, all contenders in turns in one run.

    python benchmarks/sampling.py [--threads 2] [--repeats 3] [--steps 20000] [--only eager,torch]

`eager` is the loop one would write with torch in a notebook, `torch` and `julia` are pyness's engines, `loop` is a
threaded Julia loop written by hand (a generator a thread, static vectors, no solver), `SOSRA` and the like are other
solvers of the Julia engine at the same fixed step. torchsde and diffrax take part where they are installed (the latter
on the path without a tree and on its Brownian tree), Julia where one is configured; who is absent is named and left
out. Times are taken after a first, shorter run, so that compiling is not in them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec

import torch

from pyness import systems
from pyness.sampling import sample

WALKERS, DT = 10_000, 1e-3
JULIA_SOLVERS = ("SOSRA", "SOSRI", "SRIW1")

#: The limit cycle with its published parameters in `p`, and steps of EM with reflecting walls.
LOOP = """
module HandWritten
using PyNESS.StaticArrays, Random
using Base.Threads
drift(u, p) = (s = u[1]^2; SVector(
    100 * ((p[1]^2 + s) / ((1 + s) * (1 + u[2])) - p[2] * u[1]), 100 / p[3] * (p[4] - u[2] / (1 + p[5] * s))))
fold(x) = x < 0 ? -x : x > 8 ? 16 - x : x
function walk(u, p, dt, noise, steps, rng)
    for _ in 1:steps
        u = fold.(u + dt * drift(u, p) + noise * randn(rng, SVector{2, Float64}))
    end
    return u
end
function run!(states, p, dt, noise, steps)
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


def eager(steps: int) -> float:
    """Seconds of the loop one would write in a notebook."""
    system = systems.get("limit-cycle")
    generator = torch.Generator().manual_seed(0)
    x = 8 * torch.rand(WALKERS, 2, generator=generator)
    amplitude = (2 * system.diffusion.scalar * DT) ** 0.5
    begin = time.perf_counter()
    with torch.no_grad():
        for _ in range(steps):
            x = x + DT * system.drift(x) + amplitude * torch.randn(x.shape, generator=generator)
            x = torch.where(x < 0, -x, x)
            x = torch.where(x > 8, 16 - x, x)
    return time.perf_counter() - begin


def engine(name: str, solver: str = "EM") -> Callable[[int], float]:
    """Seconds that an engine of pyness spends in its loop."""

    def run(steps: int) -> float:
        fixed = {} if solver == "EM" else {"adaptive": False}
        spec = f"{solver}:" + ",".join(f"{k}={v}".lower() for k, v in {**fixed, "dt": DT}.items())
        samples = sample(
            systems.get("limit-cycle"), spec, name, walkers=WALKERS, burn_in=0.9 * steps * DT, snapshots=10,
            spacing=0.01 * steps * DT, dtype="float32" if name == "torch" else "float64", progress=False,
        )  # fmt: skip
        return samples.stats["seconds"]

    return run


def loop() -> Callable[[int], float]:
    """Seconds of the threaded Julia loop written by hand, in double precision."""
    from pyness.sampling.engines.julia.runtime import start

    session, p = start(), systems.get("limit-cycle").parameters
    session.include(LOOP)
    states = session.empty((WALKERS, 2), torch.float64)
    values = [float(p[name]) for name in ("eps", "a", "tau0", "b", "c")]

    def run(steps: int) -> float:
        states.uniform_(0, 8)
        begin = time.perf_counter()
        session.call("HandWritten.run!", states, values, DT, (2 * p["D"] * DT) ** 0.5, steps)
        return time.perf_counter() - begin

    return run


def with_torchsde() -> Callable[[int], float]:
    """Seconds of `torchsde.sdeint` with Euler's method, in single precision, without walls."""
    import torchsde

    system = systems.get("limit-cycle")

    class Equation(torch.nn.Module):
        noise_type, sde_type = "diagonal", "ito"

        def f(self, t, x):
            return system.drift(x)

        def g(self, t, x):
            return torch.full_like(x, (2 * system.diffusion.scalar) ** 0.5)

    def run(steps: int) -> float:
        steps = min(steps, 2000)
        start = 8 * torch.rand(WALKERS, 2)
        begin = time.perf_counter()
        with torch.no_grad():
            torchsde.sdeint(Equation(), start, torch.tensor([0.0, steps * DT]), method="euler", dt=DT)
        return time.perf_counter() - begin

    run.longest = 2000
    return run


def with_diffrax(tree: bool) -> Callable[[int], float]:
    """Seconds of diffrax's Euler, compiled and vectorised over walkers, in single precision, without walls."""
    import diffrax
    import jax
    import jax.numpy as jnp

    p = systems.get("limit-cycle").parameters

    def drift(t, u, args):
        x, y = u[0], u[1]
        s = x * x
        f = 100 * ((p["eps"] ** 2 + s) / ((1 + s) * (1 + y)) - p["a"] * x)
        return jnp.stack([f, 100 / p["tau0"] * (p["b"] - y / (1 + p["c"] * s))])

    longest = 200 if tree else 20_000

    def solve(u, key, steps):
        shape = jax.ShapeDtypeStruct((2,), jnp.float32)
        path = (
            diffrax.VirtualBrownianTree(0.0, longest * DT, tol=DT / 2, shape=shape, key=key)
            if tree
            else diffrax.UnsafeBrownianPath(shape, key)
        )
        noise = (2 * p["D"]) ** 0.5
        terms = diffrax.MultiTerm(
            diffrax.ODETerm(drift), diffrax.ControlTerm(lambda t, u, args: noise * jnp.eye(2), path)
        )
        found = diffrax.diffeqsolve(
            terms, diffrax.Euler(), 0.0, steps * DT, DT, u, max_steps=None, adjoint=diffrax.ForwardMode()
        )
        return found.ys[-1]

    compiled = jax.jit(jax.vmap(solve, in_axes=(0, 0, None)))

    def run(steps: int) -> float:
        keys = jax.random.split(jax.random.PRNGKey(0), WALKERS)
        start = 8 * jax.random.uniform(jax.random.PRNGKey(1), (WALKERS, 2))
        begin = time.perf_counter()
        compiled(start, keys, float(min(steps, longest))).block_until_ready()
        return time.perf_counter() - begin

    run.longest = longest
    return run


def contenders(wanted: set[str] | None) -> dict[str, Callable[[int], float]]:
    """Those that can take part, by name."""
    from pyness.sampling.engines.julia import ready

    makers: dict[str, tuple[bool, Callable[[], Callable[[int], float]]]] = {
        "eager": (True, lambda: eager),
        "torch": (True, lambda: engine("torch")),
        "loop": (ready(), loop),
        "julia": (ready(), lambda: engine("julia")),
        **{name: (ready(), lambda name=name: engine("julia", name)) for name in JULIA_SOLVERS},
        "torchsde": (find_spec("torchsde") is not None, with_torchsde),
        "diffrax": (find_spec("diffrax") is not None, lambda: with_diffrax(False)),
        "diffrax-tree": (find_spec("diffrax") is not None, lambda: with_diffrax(True)),
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
    parser.add_argument("--steps", type=int, default=20_000, help="steps of a run; slow contenders take fewer")
    parser.add_argument("--only", type=lambda text: set(text.split(",")), help="contenders, with commas between")
    arguments = parser.parse_args()
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
    reference = "loop" if "loop" in speeds else next(iter(speeds))
    best = statistics.median(speeds[reference])
    print(f"median walker-steps per second, {arguments.threads} threads (float64 in Julia, else float32)")
    for name, found in speeds.items():
        middle = statistics.median(found)
        print(f"  {name:14s} {middle:10.3g}   {best / middle:6.2f} times as long as {reference}")


if __name__ == "__main__":
    main()

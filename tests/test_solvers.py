"""The catalogue is held against itself, the grammar against its own output, and every wrong pair is refused."""

from __future__ import annotations

import contextlib
import math
import pickle
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pyness
from pyness import solvers
from pyness.errors import InputError, SolverError, UnknownNameError
from pyness.solvers import ALGORITHMS, NOISE, OMITTED, Solver, check, fitting, parse
from pyness.systems.diffusion import Diffusion

EVERY = list(ALGORITHMS.values())


def system(diffusion) -> SimpleNamespace:
    made = Diffusion(diffusion, 2)
    made.check(torch.linspace(0, 1, 8, dtype=torch.float64).reshape(4, 2))
    return SimpleNamespace(name="test", diffusion=made)


CONSTANT = system(0.1)
CONSTANT_MATRIX = system([[0.2, 0.1], [0.1, 0.2]])
DIAGONAL = system(lambda x: 0.1 + x**2)
MATRIX = system(lambda x: torch.diag_embed(0.1 + x**2) + 0.05)


@pytest.mark.parametrize("algorithm", EVERY, ids=lambda a: a.name)
def test_records_agree_with_themselves(algorithm):
    assert algorithm.name == next(key for key, value in ALGORITHMS.items() if value is algorithm)
    assert algorithm.noise <= set(NOISE)
    assert algorithm.noise
    if "general" in algorithm.noise:
        assert algorithm.noise == set(NOISE)
    if "commutative" in algorithm.noise:
        assert {"additive", "diagonal"} <= algorithm.noise
    assert algorithm.adaptive_noise <= algorithm.noise
    assert algorithm.adaptive or not algorithm.adaptive_noise
    assert algorithm.calculus in ("ito", "stratonovich")
    assert set(algorithm.engines) <= set(solvers.ENGINES)
    assert algorithm.engines
    assert "dt" in algorithm.options
    assert ({"rtol", "atol", "adaptive", "dtmax"} <= set(algorithm.options)) == algorithm.adaptive
    assert algorithm.strong_order is None or 0 < algorithm.strong_order <= algorithm.weak_order
    assert algorithm.when
    assert algorithm.reference
    for name, option in algorithm.options.items():
        assert name == option.name
        assert option.default is None or type(option.default) is option.kind
        assert set(option.engines) <= set(solvers.ENGINES)
        if option.default is not None:
            assert Solver(algorithm, options={name: option.default})[name] == option.default


def test_the_torch_engine_has_what_the_catalogue_says():
    from pyness.sampling.engines.torch.methods import METHODS

    assert set(METHODS) == {a.name for a in EVERY if "torch" in a.engines}


def test_nothing_is_both_offered_and_left_out():
    assert not set(ALGORITHMS) & set(OMITTED)
    assert all(OMITTED.values())


def test_each_engine_has_a_method_for_each_noise_it_claims():
    for engine in solvers.ENGINES:
        assert fitting(CONSTANT, engine)
    for some in (CONSTANT, CONSTANT_MATRIX, DIAGONAL, MATRIX):
        assert any(ALGORITHMS[name].adaptive_noise for name in fitting(some, "julia"))


@st.composite
def solver_of(draw):
    algorithm = draw(st.sampled_from(EVERY))
    options = {}
    for option in draw(st.lists(st.sampled_from(list(algorithm.options.values())), unique_by=lambda o: o.name)):
        if option.kind is bool:
            options[option.name] = draw(st.booleans())
        elif option.kind is int:
            options[option.name] = draw(st.integers(int(option.low), int(min(option.high, 10**6))))
        else:
            high = option.high if math.isfinite(option.high) else None
            options[option.name] = draw(
                st.floats(option.low, high, exclude_min=True, allow_nan=False, allow_infinity=False)
            )
    return Solver(algorithm, draw(st.sampled_from([None, "torch", "julia"])), options)


@given(solver_of())
def test_what_is_written_is_read_again(solver):
    again = parse(str(solver))
    assert again == solver
    assert again.label == str(solver) == solver.label
    assert pickle.loads(pickle.dumps(again)) == again


@given(st.text(max_size=20) | st.text("EM:SORAdt=,.1e-julia ", max_size=30))
def test_any_text_is_a_solver_or_an_input_error(text):
    with contextlib.suppress(InputError):
        assert parse(text).name in ALGORITHMS


def test_forms_of_a_name():
    assert parse("SOSRA").algorithm is ALGORITHMS["SOSRA"]
    assert parse(" SOSRA : rtol = 1e-2 , atol=1e-4 ").options == {"rtol": 0.01, "atol": 0.0001}
    assert parse("julia:SOSRI").engine == "julia"
    assert parse("torch:EM:dt=1e-3").options == {"dt": 0.001}
    assert parse("torch:EM:dt=1e-3").label == "torch:EM:dt=1e-3"
    assert parse("SOSRA:adaptive=false,dt=0.1").adaptive is False
    assert parse(ALGORITHMS["EM"]).name == "EM"
    assert parse(parse("EM")) == parse("EM")
    assert parse("TangXiaoSROCK2:version_num=3").options == {"version_num": 3}
    assert parse("SOSRA")["rtol"] == ALGORITHMS["SOSRA"].options["rtol"].default


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("SOSRO", UnknownNameError, "SOSRA"),
        ("em", UnknownNameError, "'EM'"),
        ("", UnknownNameError, "unknown solver"),
        ("cuda:EM:dt=1", UnknownNameError, "unknown engine 'cuda'"),
        ("EM:dt=1:x=2", SolverError, "too many colons"),
        ("EM:dt", SolverError, "EM:dt=value"),
        ("EM:dt=", SolverError, "EM:dt=value"),
        ("EM:dt=1,dt=2", SolverError, "twice"),
        ("EM:dt=0", SolverError, "greater than 0"),
        ("EM:dt=-1e-3", SolverError, "'-1e-3'"),
        ("EM:dt=nan", SolverError, "'nan'"),
        ("EM:dt=inf", SolverError, "'inf'"),
        ("EM:dt=fast", SolverError, "'fast'"),
        ("EM:rtol=1e-2", SolverError, "fixed step"),
        ("EM:steps=3", SolverError, "it has dt"),
        ("SOSRA:rtol=0", SolverError, "greater than 0"),
        ("SOSRA:atol=-1", SolverError, "greater than 0"),
        ("SOSRA:adaptive=maybe", SolverError, "true or false"),
        ("SOSRA:theta=0.5", SolverError, "it has rtol"),
        ("ImplicitEM:theta=1.5", SolverError, "at most 1"),
        ("TangXiaoSROCK2:version_num=2.5", SolverError, "whole number from 1, at most 5"),
        ("TangXiaoSROCK2:version_num=6", SolverError, "at most 5"),
        ("TauLeaping", SolverError, "jump processes"),
    ],
)
def test_wrong_texts_are_refused_with_the_remedy(text, error, says):
    with pytest.raises(error) as caught:
        parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [None, 3, ["EM"], object()])
def test_other_things_are_no_solver(spec):
    with pytest.raises(SolverError, match="give a name"):
        parse(spec)


class _Printed:
    """What juliacall hands over: an object of one of its classes whose text is Julia's own."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


_Printed.__module__ = "juliacall"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SOSRI()", "SOSRI"),
        ("StochasticDiffEq.SOSRA()", "SOSRA"),
        ("EM{true}()", "EM"),
        ("ImplicitEM{0, true, Nothing, NLNewton{Rational{Int64}}}(nothing, 1.0)", "ImplicitEM"),
        ("StochasticDiffEqHighOrder.SRIW1()", "SRIW1"),
    ],
)
def test_julia_objects_are_recognised_and_kept(text, name):
    given_object = _Printed(text)
    solver = parse(given_object)
    assert (solver.name, solver.engine, solver.options) == (name, "julia", {})
    assert solver.native is given_object
    assert solver.with_options(dt=0.1).native is given_object


@pytest.mark.parametrize("text", ["Tsit5()", "3", "[1, 2]"])
def test_other_julia_objects_are_refused(text):
    with pytest.raises(InputError):
        parse(_Printed(text))


def test_options_given_elsewhere_are_joined_or_refused():
    solver = parse("SOSRA:rtol=1e-2").with_options(atol=1e-3, rtol=None, dt=None)
    assert solver.options == {"rtol": 0.01, "atol": 0.001}
    assert solver.label == "SOSRA:rtol=1e-2"
    with pytest.raises(SolverError, match="give rtol once"):
        solver.with_options(rtol=0.1)
    assert solver.with_options(rtol=0.01) == solver
    with pytest.raises(SolverError, match="fixed step"):
        parse("EM").with_options(rtol=0.1)
    with pytest.raises(SolverError, match="greater than 0"):
        parse("EM").with_options(dt=0)


@pytest.mark.parametrize(
    ("text", "julia"),
    [
        ("SOSRA:rtol=1e-2", "SOSRA()"),
        ("ImplicitEM:theta=0.5,symplectic=true,rtol=0.1", "ImplicitEM(symplectic=true, theta=0.5)"),
        ("EM:split=false,dt=0.1", "EM(false)"),
        ("TangXiaoSROCK2:version_num=2", "TangXiaoSROCK2(version_num=2)"),
    ],
)
def test_constructors_in_julia(text, julia):
    assert parse(text).julia() == julia


def test_noise_structure():
    assert solvers.noise_structure(CONSTANT.diffusion) == "constant diagonal"
    assert solvers.noise_structure(CONSTANT_MATRIX.diffusion) == "constant matrix"
    assert solvers.noise_structure(system([[0.2, 0.0], [0.0, 0.3]]).diffusion) == "constant diagonal"
    assert solvers.noise_structure(DIAGONAL.diffusion) == "state-dependent diagonal"
    assert solvers.noise_structure(MATRIX.diffusion) == "state-dependent matrix"


@pytest.mark.parametrize(
    ("text", "on", "engine", "says"),
    [
        ("SOSRA", DIAGONAL, None, "additive noise only"),
        ("SKenCarp", MATRIX, None, "additive noise only"),
        ("SOSRI", CONSTANT_MATRIX, None, "diagonal noise only"),
        ("SRIW1", MATRIX, None, "diagonal noise only"),
        ("RKMilCommute", MATRIX, None, "additive or diagonal or commutative"),
        ("EulerHeun:dt=1e-3", DIAGONAL, None, "Stratonovich"),
        ("RS1:dt=1e-3", MATRIX, None, "Stratonovich"),
        ("EM", CONSTANT, None, "no dt was given"),
        ("SOSRA:adaptive=false", CONSTANT, None, "no dt was given"),
        ("DRI1", MATRIX, None, "cannot be trusted"),
        ("ISSEM", CONSTANT, None, "adaptive=false"),
        ("RI5", CONSTANT, None, "step control of RI5 cannot be trusted"),
        ("RKMilGeneral", MATRIX, None, "cannot be trusted"),
        ("SOSRI", CONSTANT, "torch", "engine 'torch' has no solver 'SOSRI'"),
        ("GPUEM:dt=1e-3", CONSTANT, "julia", "it is in: julia-gpu"),
        ("EM:split=false,dt=1e-3", CONSTANT, "torch", "no option 'split'"),
        ("julia:EM:dt=1e-3", CONSTANT, "torch", "say engine='julia'"),
    ],
)
def test_wrong_pairs_are_refused_with_those_that_fit(text, on, engine, says):
    with pytest.raises(SolverError) as caught:
        check(parse(text), on, engine)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message


def test_a_refusal_for_the_noise_lists_what_fits():
    with pytest.raises(SolverError) as caught:
        check(parse("SOSRA"), DIAGONAL, "julia")
    offered = caught.value.remedy.removeprefix("these fit: ").split(", ")
    assert offered == fitting(DIAGONAL, "julia")
    assert "SOSRI" in offered
    assert "SOSRA" not in offered


@pytest.mark.parametrize(
    ("text", "on", "engine", "dt"),
    [
        ("EM", CONSTANT, "torch", 0.1),
        ("SOSRA", CONSTANT, "torch", None),
        ("SOSRA", CONSTANT_MATRIX, "julia", None),
        ("SOSRI", CONSTANT, "julia", None),
        ("EulerHeun:dt=0.1", CONSTANT, None, None),
        ("DRI1", CONSTANT_MATRIX, None, None),
        ("DRI1:adaptive=false", MATRIX, None, 0.1),
        ("ISSEM:adaptive=false,dt=0.1", MATRIX, "julia", None),
        ("julia:GPUEM:dt=0.1", CONSTANT, "julia-gpu", None),
    ],
)
def test_right_pairs_pass(text, on, engine, dt):
    check(parse(text), on, engine, dt=dt)


@pytest.mark.parametrize("some", [CONSTANT, CONSTANT_MATRIX, DIAGONAL, MATRIX], ids=solvers._COVERED_BY)
def test_what_fits_is_what_check_accepts_at_a_fixed_step(some):
    accepted = []
    for algorithm in EVERY:
        options = {"adaptive": False} if algorithm.adaptive else {}
        try:
            check(Solver(algorithm, options=options), some, dt=0.1)
        except SolverError:
            continue
        accepted.append(algorithm.name)
    assert accepted == fitting(some)


def test_table_has_a_row_per_algorithm_and_narrows():
    assert [row["name"] for row in solvers.table()] == list(ALGORITHMS)
    assert [row["name"] for row in solvers.table(MATRIX, "julia")] == fitting(MATRIX, "julia")
    assert all(set(row) == set(solvers.table()[0]) for row in solvers.table())


def test_importing_the_catalogue_loads_neither_torch_nor_julia():
    code = "import sys, pyness.solvers; sys.exit(any(m in sys.modules for m in ('torch', 'juliacall', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


#: Stratonovich methods for which StochasticDiffEq 6.66 declares nothing, so that its default stands there.
UNDECLARED = ("ImplicitEulerHeun", "ISSEulerHeun")
EXAMINE = """
module Examined
using PyNESS: StochasticDiffEq as S, SciMLBase
const A = Union{SciMLBase.AbstractSDEAlgorithm, SciMLBase.AbstractRODEAlgorithm}
concrete(T) = T isa Type && T <: A && !isabstracttype(Base.unwrap_unionall(T))
exported() = [n for n in names(S) if isdefined(S, n) && concrete(getfield(S, n))]
has(name) = isdefined(S, Symbol(name))
const DIAGONAL = SciMLBase.SDEProblem((du, u, p, t) -> du .= 0, (du, u, p, t) -> du .= 1, ones(2), (0.0, 1.0))
const MATRIX = SciMLBase.SDEProblem((du, u, p, t) -> du .= 0, (du, u, p, t) -> du .= 1, ones(2), (0.0, 1.0);
    noise_rate_prototype = zeros(2, 2))
# the trait moved from StochasticDiffEq to SciMLBase between 6.66 and 6.80
const interpretation = isdefined(S, :alg_interpretation) ? S.alg_interpretation : SciMLBase.alg_interpretation
function examine(source)
    algorithm = include_string(S, source)
    return (adaptive = S.isadaptive(algorithm), calculus = lowercase(string(interpretation(algorithm))),
        diagonal = S.alg_compatible(DIAGONAL, algorithm), matrix = S.alg_compatible(MATRIX, algorithm))
end
"Mean of X(1) and its standard error for dX = X dW, X(0) = 1: one in the Ito sense, sqrt(e) in the Stratonovich sense."
function martingale(source, paths)
    algorithm = include_string(S, source)
    ends = map(1:paths) do seed
        problem = SciMLBase.SDEProblem((du, u, p, t) -> du .= 0, (du, u, p, t) -> du .= u, [1.0], (0.0, 1.0); seed)
        S.solve(problem, algorithm; dt = 1 / 64, adaptive = false, save_everystep = false).u[end][1]
    end
    mean = sum(ends) / paths
    return mean, sqrt(sum(abs2, ends .- mean)) / paths
end
end
"""


@pytest.mark.julia
def test_the_catalogue_is_what_stochastic_diff_eq_exports():
    from pyness.sampling.engines.julia import runtime

    session = runtime.start()
    session.include(EXAMINE)
    exported = set(session.call("Examined.exported"))
    assert exported <= set(ALGORITHMS) | set(OMITTED)
    for algorithm in EVERY:
        if "julia" not in algorithm.engines:
            continue
        assert session.call("Examined.has", algorithm.name), algorithm.name
        options = {o.name: o.default for o in algorithm.options.values() if o.keyword}
        for solver in (Solver(algorithm), Solver(algorithm, options=options)):
            found = session.call("Examined.examine", solver.julia())
            assert found["adaptive"] == algorithm.adaptive, algorithm.name
            assert found["calculus"] == ("ito" if algorithm.name in UNDECLARED else algorithm.calculus), algorithm.name
            # upstream does not look whether the noise is additive
            assert found["diagonal"], algorithm.name
            assert found["matrix"] or not algorithm.noise & {"additive", "commutative", "general"}, algorithm.name


@pytest.mark.julia
@pytest.mark.validate  # each algorithm compiles for seconds
@pytest.mark.parametrize("name", [a.name for a in EVERY if "julia" in a.engines and "diagonal" in a.noise])
def test_calculus_by_the_mean_of_a_martingale(name):
    from pyness.sampling.engines.julia import runtime

    session = runtime.start()
    session.include(EXAMINE)
    mean, error = session.call("Examined.martingale", Solver(ALGORITHMS[name]).julia(), 4000)
    ito, stratonovich = abs(mean - 1) / error, abs(mean - math.exp(0.5)) / error
    # 0.65 lies between the two and a standard error is 0.02 to 0.04; the methods' own bias at this dt is about 0.01
    right, wrong = (ito, stratonovich) if ALGORITHMS[name].calculus == "ito" else (stratonovich, ito)
    assert right < 5
    assert wrong > 8


def ornstein_uhlenbeck(d):
    """Rates between 1 and 1.5 around a rotation: ``A`` and ``D`` with the stationary covariance ``S`` in each plane."""
    A = torch.tensor([[1.0, 0.8], [-0.3, 1.5]], dtype=torch.float64)
    D = torch.tensor([0.1, 0.2], dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    S = torch.linalg.solve(torch.kron(A, eye) + torch.kron(eye, A), (2 * torch.diag(D)).reshape(-1)).reshape(2, 2)
    blocks = torch.block_diag(*[A] * (d // 2))
    made = pyness.System(
        "test", d, lambda x: -(x @ blocks.to(x).T), D.repeat(d // 2).tolist(), pyness.Box([-1] * d, [1] * d, "open")
    )
    return made, S


def relative_variance(samples, S) -> tuple[float, float]:
    """Mean of ``x' S^-1 x / d - 1`` over planes, snapshots and walkers, and its standard error over walkers."""
    x = samples.states.double().unflatten(-1, (-1, 2))
    value = (torch.einsum("...i,ij,...j->...", x, torch.linalg.inv(S), x) / 2 - 1).mean((-1, -2))
    return value.mean().item(), value.std().item() / math.sqrt(len(value))


@pytest.mark.julia
@pytest.mark.validate
def test_rejected_steps_add_no_noise_in_many_dimensions():
    """Beyond 20 dimensions states are vectors, for which StochasticDiffEq's own treatment of rejections adds 4 %."""
    made, S = ornstein_uhlenbeck(24)
    plan = {"walkers": 400, "burn_in": 5.0, "snapshots": 4, "spacing": 2.0, "dtype": "float64", "engine": "julia"}
    samples = pyness.sample(made, "SOSRI:rtol=1e-2,delta=1", **plan)
    assert samples.stats["steps_rejected"] > 0
    off, error = relative_variance(samples, S)
    assert error < 0.008
    assert abs(off) < 4 * error


@pytest.mark.julia
@pytest.mark.validate
@pytest.mark.parametrize("name", [a.name for a in EVERY if "julia" in a.engines])
def test_defaults_give_the_stationary_variance(name):
    """At the default tolerance, or dt = 0.02, the variance is right within what the catalogue's page says."""
    algorithm = ALGORITHMS[name]
    adapts = bool(algorithm.adaptive_noise)
    spec = name if adapts else f"{name}:adaptive=false,dt=0.02" if algorithm.adaptive else f"{name}:dt=0.02"
    allowed = 0.04 if not adapts else 0.025 if algorithm.weak_order == 1 else 0.01
    plan = {"walkers": 4000, "burn_in": 6.0, "snapshots": 5, "spacing": 2.0, "dtype": "float64", "engine": "julia"}
    cases = [ornstein_uhlenbeck(2)]
    if name in fitting(DIAGONAL, "julia") and (not adapts or "diagonal" in algorithm.adaptive_noise):
        box = pyness.Box([-1, -1], [1, 1], "open")
        multiplicative = pyness.System("test", 2, lambda x: -x, lambda x: 0.1 + 0.1 * x**2, box)
        cases.append((multiplicative, torch.eye(2, dtype=torch.float64) / 9))
    for made, S in cases:
        off, error = relative_variance(pyness.sample(made, spec, **plan), S)
        assert abs(off) < allowed + 4 * error

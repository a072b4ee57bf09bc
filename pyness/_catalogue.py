"""The data behind ``pyness.solvers``: one record per algorithm, under DifferentialEquations.jl's own names.

Orders, noise kinds and stepping were read in the sources and docstrings of StochasticDiffEq 6.66 to 7.1 and
DiffEqGPU 3.4 to 3.17. Where the code and its documentation disagree the smaller claim stands here. Deterministic
orders that those docstrings list as weak orders (SRIW2 and SRA3, "weak order 3") are not repeated.

Default tolerances were chosen with StochasticDiffEq 6.66 by the stationary variance of Ornstein-Uhlenbeck processes
(rates 1 to 1.5) and of ``dX = -X dt + sqrt(2 (a + b X^2)) dW``: at them it is right within 2.5 % for methods of weak
order 1 and within 1 % for the others. ``tests/test_solvers.py`` (``validate``) repeats the measurement.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

__all__ = ["ALGORITHMS", "ENGINES", "NOISE", "OMITTED", "Algorithm", "Option"]

ENGINES = ("torch", "julia", "julia-gpu")
NOISE = ("additive", "diagonal", "commutative", "general")


@dataclass(frozen=True)
class Option:
    """One option of an algorithm, given as ``NAME:option=value``.

    Attributes:
        kind: ``float``, ``int`` or ``bool``.
        default: the value where none is given; None where there is none.
        what: one line for the help.
        low, high: bounds of a number; ``low`` is excluded for a float (a step or a tolerance of 0 means nothing).
        keyword: whether the algorithm's own constructor takes it in Julia (else it steers the stepping).
        positional: whether that constructor takes it without its name.
        engines: which engines have it.
        particles: which engines have it for particle systems besides, and then as its exact activity step.
    """

    name: str
    kind: type
    default: float | int | bool | None
    what: str
    low: float = 0.0
    high: float = float("inf")
    keyword: bool = False
    positional: bool = False
    engines: tuple[str, ...] = ENGINES
    particles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Algorithm:
    """What is known of one algorithm.

    Attributes:
        name: DifferentialEquations.jl's own.
        family: the heading it stands under.
        strong_order, weak_order: as published for Ito noise of the kinds it takes; None where none is claimed.
        adaptive: whether it can choose its step; every algorithm can also run at a fixed one.
        stiff: whether it is meant for drifts with very different rates.
        noise: the kinds it integrates, among ``NOISE``: ``"additive"`` (a constant matrix of any shape),
            ``"diagonal"`` (each coordinate its own noise), ``"commutative"``, ``"general"``.
        adaptive_noise: the kinds with which its step control may be trusted; a subset of ``noise``.
        calculus: ``"ito"`` or ``"stratonovich"``; for additive noise both are the same.
        engines: where it can run, among ``ENGINES``.
        particles: which engines have a kernel of their own for it where particles interact: among those with kernels,
            only these can run it then.
        when: one line on when to use it.
        reference: where it is described.
        options: name -> ``Option``.
    """

    name: str
    family: str
    strong_order: float | None
    weak_order: float | None
    adaptive: bool
    stiff: bool
    noise: frozenset[str]
    adaptive_noise: frozenset[str]
    calculus: str
    engines: tuple[str, ...]
    when: str
    reference: str
    options: dict[str, Option] = field(default_factory=dict, hash=False)
    particles: tuple[str, ...] = ()

    @property
    def stepping(self) -> str:
        """``"adaptive or fixed"`` or ``"fixed"``."""
        return "adaptive or fixed" if self.adaptive else "fixed"


ANY = frozenset(NOISE)
ADDITIVE = frozenset({"additive"})
DIAGONAL = frozenset({"diagonal"})
COMMUTATIVE = frozenset({"additive", "diagonal", "commutative"})
JULIA = ("julia",)
BOTH = ("torch", "julia")
DEVICES = ("julia", "julia-gpu")

_FIXED = (Option("dt", float, None, "the step; required"),)
_STEPS = (
    Option("atol", float, None, "error allowed in a step, absolute; added to rtol's"),
    Option("dt", float, None, "first step tried; the step itself with adaptive=false"),
    Option("dtmax", float, None, "longest step"),
    Option("adaptive", bool, True, "false: every step is dt"),
)
_RTOL = "error allowed in a step, in units of how far the noise moves a coordinate (sampling.scale)"
_FIRST_ORDER = (Option("rtol", float, 1e-3, _RTOL), *_STEPS)
_HIGH_ORDER = (Option("rtol", float, 1e-2, _RTOL), *_STEPS)
_WEAK_ORDER = (Option("rtol", float, 1e-1, _RTOL), *_STEPS)
_IMPLICIT = (Option("rtol", float, 3e-4, _RTOL), *_STEPS)
# its noise enters the stages with weights of 12 and 14, which a nonlinear drift feels long before its own error
# estimate sees it: entropy production of the double well + 91 % at 1e-3, + 7 % at 1e-4 (docs/julia.md)
_KENCARP = (Option("rtol", float, 1e-5, _RTOL), *_STEPS)
# the published error estimate of these methods weighs how far the drift moves the state, which is no error: with the
# weight 1 that StochasticDiffEq takes, SOSRA makes 744 steps where 38 do (rtol 1e-2, a unit of time, rates 1 to 1.5)
_DELTA = Option("delta", float, 1 / 32, "weight of the drift in the error estimate", engines=JULIA)
_SPLIT = Option(
    "split", bool, True, "noise taken at the state the drift has led to", keyword=True, positional=True, engines=JULIA
)
_EXACT = replace(
    _SPLIT, what="noise taken at the state the drift has led to (julia); of particles: exact step of the activity",
    particles=("torch", "julia-gpu"),
)  # fmt: skip
_THETA = Option("theta", float, 1.0, "weight of the new state: 1 backward Euler, 0.5 trapezoid", 0.0, 1.0, keyword=True)
_SYMPLECTIC = Option("symplectic", bool, False, "implicit midpoint instead", keyword=True, engines=JULIA)

_STRONG = Option("strong_order_1", bool, True, "false: no Milstein term", keyword=True)
_POST = Option("post_processing", bool, False, "for ergodic averages; under development upstream", keyword=True)
_VERSION = Option("version_num", int, 5, "which stability region", 1, 5, keyword=True)

_KLOEDEN = "Kloeden & Platen, Numerical Solution of SDEs (1992)"
_LAMBA = "Lamba, J. Comput. Appl. Math. 161 (2003) 417"
_LEVY = _KLOEDEN + "; Levy areas: Kastner & Roessler, arXiv:2201.08424"
_WANG = "Wang & Li, Three-stage stochastic Runge-Kutta methods for SDEs"
_RACKAUCKAS = "Rackauckas & Nie, IEEE HPEC (2020), arXiv:1804.04344"
_ROESSLER = "Roessler, SIAM J. Numer. Anal. 48 (2010) 922"
_MILSTEIN = "Milstein, Repin & Tretyakov, SIAM J. Numer. Anal. 40 (2002) 1583"
_SROCK = "Abdulle & Li, Commun. Math. Sci. 6 (2008) 845"
_SROCK2 = "Abdulle, Vilmart & Zygalakis, SIAM J. Sci. Comput. 35 (2013) A1792"
_SKSROCK = "Abdulle, Almuslimani & Vilmart, SIAM/ASA J. Uncertain. Quantif. 6 (2018) 937"
_TANG = "Tang & Xiao, Second-order SROCK methods for stochastic problems"
_KOMBUR = "Komori & Burrage, Weak second order S-ROCK methods for Stratonovich SDEs (2012)"
_DEBRABANT = "Debrabant & Roessler, Appl. Numer. Math. 59 (2009) 582"
_ROESSLER_WEAK = "Roessler, SIAM J. Numer. Anal. 47 (2009) 1713"
_CLASSES = "Debrabant & Roessler, Math. Comput. Simul. 77 (2008) 408"
_TOCINO = "Tocino & Vigo-Aguiar, SIAM J. Sci. Comput. 24 (2002) 507"
_ROESSLER_STRAT = "Roessler, BIT 47 (2007) 657"
_KOMORI = "Komori, J. Comput. Appl. Math. 206 (2007) 158"
_KOMORI_BURRAGE = "Komori & Burrage, J. Comput. Appl. Math. 235 (2011) 5326"
_KOMORI_COMMUTATIVE = "Komori, J. Comput. Appl. Math. 203 (2007) 57"
_UTKARSH = "Utkarsh et al., Comput. Methods Appl. Mech. Eng. 419 (2024) 116591"


def _record(
    family: str,
    name: str,
    when: str,
    reference: str,
    *,
    strong: float | None,
    weak: float,
    noise: frozenset[str],
    stepping: tuple[Option, ...] = _FIXED,
    controlled: frozenset[str] | None = None,
    stiff: bool = False,
    calculus: str = "ito",
    engines: tuple[str, ...] = JULIA,
    particles: tuple[str, ...] = (),
    extra: tuple[Option, ...] = (),
) -> Algorithm:
    """A record; ``stepping`` are its options but ``extra``, ``controlled`` is all its noise if not given."""
    adaptive = stepping is not _FIXED
    trusted = noise if controlled is None else controlled
    return Algorithm(
        name=name,
        family=family,
        strong_order=strong,
        weak_order=weak,
        adaptive=adaptive,
        stiff=stiff,
        noise=noise,
        adaptive_noise=trusted if adaptive else frozenset(),
        calculus=calculus,
        engines=engines,
        particles=particles,
        when=when,
        reference=reference,
        options={option.name: option for option in (*stepping, *extra)},
    )


def _explicit() -> Iterator[Algorithm]:
    euler = partial(_record, "Euler", strong=0.5, weak=1.0, noise=ANY)
    strat = partial(euler, calculus="stratonovich")
    yield euler(
        "EM", "the reference; halve dt until nothing changes", _KLOEDEN, engines=BOTH, particles=("julia-gpu",),
        extra=(_EXACT,),
    )  # fmt: skip
    yield euler("LambaEM", "adaptive Euler, for general noise", _LAMBA, stepping=_FIRST_ORDER, extra=(_SPLIT,))
    yield euler("SimplifiedEM", "two-point noise: distributions only, never paths", _KLOEDEN, strong=None)
    yield strat("EulerHeun", "two drift evaluations a step; second order in a smooth drift", _KLOEDEN, engines=BOTH)
    yield strat("LambaEulerHeun", "EulerHeun with steps of its own choice", _LAMBA, stepping=_FIRST_ORDER)

    milstein = partial(_record, "Milstein", strong=1.0, weak=1.0, noise=DIAGONAL)
    adapting = partial(milstein, stepping=_FIRST_ORDER)
    yield adapting("RKMil", "diagonal noise, cheaper a step than SOSRI", _KLOEDEN)
    yield adapting("RKMilCommute", "commutative noise", _KLOEDEN, noise=COMMUTATIVE)
    # a rejected step would need its Levy area bridged, which upstream documents as biased
    yield adapting("RKMilGeneral", "strong order 1 with any noise", _LEVY, noise=ANY, controlled=ADDITIVE | DIAGONAL)
    for letter in "ABCDEF":
        yield milstein(f"WangLi3SMil_{letter}", "three stages a step", _WANG)

    additive = partial(
        _record, "SRK, additive noise", strong=1.5, weak=2.0, noise=ADDITIVE, stepping=_HIGH_ORDER, extra=(_DELTA,)
    )
    yield additive("SOSRA", "first choice for additive noise", _RACKAUCKAS, engines=ENGINES, particles=("julia-gpu",))
    yield additive("SOSRA2", "as SOSRA, with a larger stability region", _RACKAUCKAS)
    yield additive("SRA1", "two stages: cheapest of the family on easy drifts", _ROESSLER)
    yield additive("SRA2", "two stages, another tableau", _ROESSLER)
    yield additive("SRA3", "three stages, deterministic order 3: little noise", _ROESSLER)
    yield additive("SRA", "SRA1 through the generic tableau code: slower, for comparison", _ROESSLER)

    diagonal = partial(
        _record, "SRK, diagonal noise", strong=1.5, weak=2.0, noise=DIAGONAL, stepping=_HIGH_ORDER, extra=(_DELTA,)
    )
    yield diagonal("SOSRI", "first choice for diagonal noise that depends on the state", _RACKAUCKAS, engines=DEVICES)
    yield diagonal("SOSRI2", "as SOSRI, with a larger stability region", _RACKAUCKAS)
    yield diagonal("SRIW1", "the published tableau, for comparison", _ROESSLER, engines=DEVICES)
    yield diagonal("SRIW2", "deterministic order 3: little noise", _ROESSLER)
    yield diagonal("SRI", "SRIW1 through the generic tableau code: slower, for comparison", _ROESSLER)


def _for_stiff_drifts() -> Iterator[Algorithm]:
    theta = (_THETA, _SYMPLECTIC)
    implicit = partial(_record, "implicit", strong=0.5, weak=1.0, noise=ANY, stepping=_IMPLICIT, stiff=True)
    strat = partial(implicit, calculus="stratonovich", extra=theta)
    # the tolerance the torch engine was tuned with; StochasticDiffEq's error estimate is less strict at the same one
    yield implicit(
        "ImplicitEM", "stiff drift; damped, mind rtol", _KLOEDEN, engines=BOTH, stepping=_FIRST_ORDER, extra=theta
    )
    yield implicit("STrapezoid", "stiff drift without backward Euler's damping", _KLOEDEN)
    yield implicit("SImplicitMidpoint", "stiff drift; keeps the variance of linear systems", _MILSTEIN)
    yield implicit("ImplicitRKMil", "stiff drift, diagonal noise", _KLOEDEN, strong=1.0, noise=DIAGONAL, extra=theta)
    yield strat("ImplicitEulerHeun", "ImplicitEM in the Stratonovich sense", _KLOEDEN)
    # adaptive and in place, these overwrite a scratch array when the noise is diagonal and return wrong means
    yield implicit("ISSEM", "stiff noise; at a fixed step", _KLOEDEN, controlled=frozenset(), extra=theta)
    yield strat("ISSEulerHeun", "stiff noise; at a fixed step", _KLOEDEN, controlled=frozenset())
    yield _record(
        "implicit",
        "SKenCarp",
        "stiff drift, additive noise; large errors at large tolerances",
        _RACKAUCKAS,
        strong=1.5,
        weak=2.0,
        noise=ADDITIVE,
        stepping=_KENCARP,
        stiff=True,
    )

    rock = partial(_record, "stabilised explicit", strong=1.0, weak=2.0, noise=ANY, stiff=True)
    yield rock("SROCK1", "mildly stiff drift in many dimensions: no Jacobian", _SROCK, strong=0.5, weak=1.0)
    yield rock("SROCK2", "as SROCK1 with weak order 2", _SROCK2)
    yield rock("SROCKEM", "Euler-Maruyama with a stabilised drift", _SROCK, weak=1.0, extra=(_STRONG,))
    yield rock("SKSROCK", "largest stability region a stage", _SKSROCK, strong=0.5, weak=1.0, extra=(_POST,))
    yield rock("TangXiaoSROCK2", "weak order 2, five stability regions", _TANG, noise=DIAGONAL, extra=(_VERSION,))
    yield rock("KomBurSROCK2", "weak order 2, Stratonovich", _KOMBUR, calculus="stratonovich")
    yield rock("SROCKC2", "weak order 2, another damping", "docstring of StochasticDiffEqROCK")


def _weak() -> Iterator[Algorithm]:
    weak = partial(_record, "weak", strong=None, weak=2.0, noise=ANY)
    # a rejected step breaks their three-point noise, which shows where noise depends on the state (variance + 28 %);
    # with several noise channels their error estimate is not computed at all
    adapting = partial(weak, stepping=_WEAK_ORDER, controlled=ADDITIVE)
    yield adapting("DRI1", "distributions with any noise; smallest error constants", _DEBRABANT)
    yield adapting("RI1", "distributions with any noise", _ROESSLER_WEAK)
    yield adapting("RI3", "as RI1, another tableau", _ROESSLER_WEAK)
    # adaptive, it takes its noise with the sign turned (its beta1 adds up to -1) and is compared with a step that does
    # not: twice the noise counts as its error and the steps shrink to 1e-8 (limit cycle, mean step; of RI3 4e-4)
    yield adapting("RI5", "as RI1, another tableau; at a fixed step", _ROESSLER_WEAK, controlled=frozenset())
    yield adapting("RI6", "as RI1, deterministic order 2", _ROESSLER_WEAK)
    yield adapting("RDI2WM", "as DRI1, deterministic order 2", _CLASSES)
    yield adapting("RDI3WM", "as DRI1, another tableau", _CLASSES)
    yield adapting("RDI4WM", "as DRI1, another tableau", _CLASSES)
    yield weak("RDI1WM", "weak order 1, deterministic order 2", _CLASSES, weak=1.0)
    yield weak("PL1WM", "the textbook's weak order 2", _KLOEDEN)
    yield weak("PL1WMA", "the textbook's weak order 2 for additive noise", _KLOEDEN, noise=ADDITIVE)
    yield weak("SIEA", "stochastic improved Euler, form A", _TOCINO, noise=DIAGONAL)
    yield weak("SIEB", "stochastic improved Euler, form B", _TOCINO, noise=DIAGONAL)
    yield weak("SMEA", "stochastic modified Euler, form A", _TOCINO, noise=DIAGONAL)
    yield weak("SMEB", "stochastic modified Euler, form B", _TOCINO, noise=DIAGONAL)

    strat = partial(weak, calculus="stratonovich")
    yield strat("RS1", "deterministic order 2", _ROESSLER_STRAT)
    yield strat("RS2", "deterministic order 3", _ROESSLER_STRAT)
    yield strat("NON", "deterministic order 4", _KOMORI)
    yield strat("NON2", "cheaper than NON", _KOMORI_BURRAGE)
    yield strat("COM", "commutative noise", _KOMORI_COMMUTATIVE, noise=COMMUTATIVE)


def _kernels() -> Iterator[Algorithm]:
    kernel = partial(_record, "GPU kernel", engines=("julia-gpu",))
    yield kernel("GPUEM", "EM with a GPU thread to each walker", _UTKARSH, strong=0.5, weak=1.0, noise=ANY)
    yield kernel("GPUSIEA", "SIEA with a GPU thread to each walker", _UTKARSH, strong=None, weak=2.0, noise=DIAGONAL)


ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm for algorithm in (*_explicit(), *_for_stiff_drifts(), *_weak(), *_kernels())
}

#: Algorithms that StochasticDiffEq exports and pyness does not offer, with the reason.
OMITTED: dict[str, str] = {
    "DRI1NM": "right only where the noise of a coordinate depends on that coordinate alone, which nothing checks: DRI1",
    "W2Ito1": "not in the version this catalogue was measured with (6.66)",
    "IRI1": "not in the version this catalogue was measured with (6.66)",
    "PCEuler": "needs a hand-written derivative of the noise",
    "SplitEM": "needs the drift in two parts",
    "IIF1M": "needs the drift in two parts",
    "IIF2M": "needs the drift in two parts",
    "IIF1Mil": "needs the drift in two parts",
    "AutoSOSRI2": "switches between two algorithms of different needs: take one of them",
    "AutoSOSRA2": "switches between two algorithms of different needs: take one of them",
    "StochasticCompositeAlgorithm": "is made of other algorithms: take one of them",
    "BAOAB": "needs positions and velocities as two equations; its law is that of Langevin dynamics only",
    "RandomEM": "for random ordinary differential equations",
    "RandomHeun": "for random ordinary differential equations",
    "RandomTamedEM": "for random ordinary differential equations",
    "TauLeaping": "for jump processes",
    "CaoTauLeaping": "for jump processes",
    "ImplicitTauLeaping": "for jump processes",
    "ThetaTrapezoidalTauLeaping": "for jump processes",
}

# One walker: from its start through the burn-in to the last snapshot.

"""
    seed_of(seed, walker)

The seed of one walker, never zero (which solvers take for "any"): two rounds of splitmix64 on the pair.
"""
function seed_of(seed::Integer, walker::Integer)
    mixed = _mix(_mix(seed % UInt64) + (walker % UInt64) * 0x9e3779b97f4a7c15)
    return iszero(mixed) ? one(UInt64) : mixed
end

function _mix(z::UInt64)
    z += 0x9e3779b97f4a7c15
    z = (z ⊻ (z >> 30)) * 0xbf58476d1ce4e5b9
    z = (z ⊻ (z >> 27)) * 0x94d049bb133111eb
    return z ⊻ (z >> 31)
end

"""
Carry one walker through the plan, writing its snapshots into the columns of `states` and the steps that an adaptive method
is about to take there into `steps`; false where it blew up or was cut short.
"""
function walk!(
        states, steps, sde::Equation, x, algorithm, plan::Plan, box::Box, frame, seed::UInt64, walker::Int, tally::Tally
    )
    restart!(sde.drift)
    integrator = _begin(sde, inward(frame, x), algorithm, plan, seed)
    kept = length(tally.folds)
    alive = plan.adaptive ? _adaptive!(states, steps, integrator, plan, box, frame, sde.drift, walker, tally) :
        _fixed!(states, integrator, stepper(sde, algorithm, seed), plan, box, frame, sde.drift, walker, tally)
    alive || truncate!(tally.folds, kept, length(x))
    return alive
end

# A fresh integrator for each walker: what `reinit!` leaves behind of the last one differs between algorithms.
function _begin(sde, x, algorithm, plan, seed)
    goals = stops(plan)
    # at a fixed step nothing is to be met on the way: steps are counted
    tend = plan.adaptive ? last(goals) : 2 * last(goals) + 1
    step = plan.adaptive || plan.burn_in == 0 ? plan.dt : plan.burn_in_dt
    return init(
        problem(sde, x, tend, _noise(algorithm, sde, x, plan.adaptive)), algorithm;
        seed, adaptive = plan.adaptive, dt = step, dtmax = plan.dtmax, tstops = plan.adaptive ? goals : Float64[],
        abstol = plan.tolerance, reltol = 0.0, plan.delta, maxiters = plan.maxiters,
        save_everystep = false, save_start = false, save_end = false
    )
end

# At a fixed step no increment is ever divided. EM is fast enough for that to matter; for others the solver's own choice,
# but not in place and adaptive: there RSwM3 shares arrays between its stacks and each rejection adds noise (SOSRI, OU,
# DiffEqNoiseProcess 5.22: a variance 3.8 % too large), which RSwM2 does not.
_noise(algorithm, ::Equation{false}, x, adaptive) = nothing
function _noise(algorithm, ::Equation{true}, x, adaptive)
    adaptive || return nothing
    second = Traits.alg_needs_extra_process(algorithm) ? zero(x) : nothing
    return WienerProcess!(
        0.0, zero(x), second; rng = Xoshiro(0), save_everystep = false, rswm = RSWM(adaptivealg = :RSwM2)
    )
end
_noise(::StochasticDiffEq.EM, ::Equation{false}, x, adaptive) = _wiener(WienerProcess, x)
_noise(::StochasticDiffEq.EM, ::Equation{true}, x, adaptive) = _wiener(WienerProcess!, x)
_wiener(process, x) =
    process(0.0, zero(x); rng = Xoshiro(0), save_everystep = false, rswm = RSWM(adaptivealg = :RSwM1))

"Steps between looks at what the call may still take; a multiple of the strides below."
const LOOK = 256

# How an integrator makes its next step of a fixed length: as a whole, with all that SciML sees to between steps (events,
# stops, saving, noise that may have to be divided), or by the algorithm's own step alone where nothing else is needed. Of
# EM on two coordinates the step itself is a third.
struct Whole end

mutable struct Bare
    const rng::Xoshiro
    root::Float64
end

"""
Algorithms whose step is a function of the state and of the increments `dW` and `dZ`, without memory (static states; those
that iterate, draw variates of their own or keep stages do more between steps).
"""
const MEMORYLESS = (
    "EM", "EulerHeun", "SRA1", "SRA3", "SOSRA", "SOSRA2", "SRIW1", "SRIW2", "SOSRI", "SOSRI2",
)

stepper(::Equation{true}, algorithm, seed) = Whole()
stepper(::Equation{false}, algorithm, seed) =
    isdefined(Traits, :perform_step!) && string(nameof(typeof(algorithm))) in MEMORYLESS ? Bare(Xoshiro(seed), 0.0) : Whole()

_set_step!(::Whole, integrator, step) = set_proposed_dt!(integrator, step)
_set_step!(bare::Bare, integrator, step) = (integrator.dt = step; bare.root = sqrt(step); nothing)

@inline _step!(::Whole, integrator) = (step!(integrator); integrator.accept_step)
@inline function _step!(bare::Bare, integrator)
    W = integrator.W
    integrator.uprev = integrator.u
    W.dW = bare.root * randn(bare.rng, typeof(W.dW))
    W.dZ === nothing || (W.dZ = bare.root * randn(bare.rng, typeof(W.dW)))
    Traits.perform_step!(integrator, integrator.cache)
    return true
end

# Steps are counted instead of timed, so that rounding of the time adds none.
function _fixed!(states, integrator, stepper, plan, box, frame, drift, walker, tally)
    time, activity = 0.0, settled(drift)
    for (goal, steps, step) in legs(plan.burn_in, plan.burn_in_dt, plan.snapshots, plan.spacing, plan.dt)
        recorded = goal > 0
        _set_step!(stepper, integrator, step)
        stride = _stride(integrator.u)
        for taken in 0:stride:(steps - 1)
            iszero(taken % LOOK) && over!(tally, plan, drift) && return false
            before = integrator.u
            alive = true
            for _ in 1:min(stride, steps - taken)
                alive &= _step!(stepper, integrator)
                activity === nothing || settle!(integrator.u, integrator.uprev, activity, step)
                _restore!(integrator, box, frame, recorded, walker, tally.folds)
            end
            alive && isfinite(sum(integrator.u)) ||
                return _fail!(integrator, frame, before, time + taken * step, walker, tally)
        end
        tally.accepted += steps
        tally.shortest, tally.longest = min(tally.shortest, step), max(tally.longest, step)
        time += steps * step
        recorded && _keep!(states, goal, outward(frame, integrator.u))
    end
    return true
end

# What is not finite stays so: it is enough to look every few steps, where the state before them costs nothing to keep.
_stride(::StaticArray) = 8
_stride(_) = 1

function _adaptive!(states, lengths, integrator, plan, box, frame, drift, walker, tally)
    for goal in (plan.burn_in > 0 ? 0 : 1):plan.snapshots
        recorded, target = goal > 0, plan.burn_in + goal * plan.spacing
        while integrator.t < target
            before, time, proposed = integrator.u, integrator.t, get_proposed_dt(integrator)
            iterations = integrator.iter
            iszero(iterations % LOOK) && over!(tally, plan, drift) && return false
            step!(integrator)
            tally.rejected += integrator.iter - iterations - 1
            integrator.accept_step && isfinite(sum(integrator.u)) && integrator.iter <= plan.maxiters ||
                return _fail!(integrator, frame, before, time, walker, tally)
            _restore!(integrator, box, frame, recorded, walker, tally.folds)
            step = integrator.t - time
            tally.accepted += 1
            tally.shortest, tally.longest = min(tally.shortest, step), max(tally.longest, step)
            count_length!(tally, step)
            # a step cut short to meet a snapshot says little about the longest that would have passed
            integrator.t >= target && set_proposed_dt!(integrator, max(get_proposed_dt(integrator), proposed))
        end
        if recorded
            _keep!(states, goal, outward(frame, integrator.u))
            lengths[goal] = get_proposed_dt(integrator)
        end
    end
    return true
end

@inline function _restore!(integrator, box, frame, recorded, walker, folds)
    bounded(box) || return nothing
    x = outward(frame, integrator.u)
    if outside(box, x)
        recorded && box.walled && record!(folds, box, x, walker)
        _move!(integrator, box, frame, x)
    end
    return nothing
end

# The solvers copy `u` into `uprev` when the next step begins and keep no derivative from the last one.
@inline _move!(integrator, box, frame, x::StaticArray) = (integrator.u = inward(frame, restore(box, x)); nothing)
@inline _move!(integrator, box, frame, x::Vector) = (copyto!(integrator.u, inward(frame, restore!(x, box))); nothing)

@inline function _keep!(states, goal, u)
    @inbounds for i in eachindex(u)
        states[i, goal] = u[i]
    end
    return nothing
end

function _fail!(integrator, frame, before, time, walker, tally)
    state = before isa StaticArray ? before : integrator.uprev # vectors change in place
    push!(tally.failures, Failure(walker, time, collect(Float64, outward(frame, state)), _reason(integrator)))
    return false
end

function _reason(integrator)
    isfinite(sum(integrator.u)) || return "not finite"
    code = integrator.sol.retcode
    return string(code in (ReturnCode.Default, ReturnCode.Success) ? ReturnCode.MaxIters : code)
end

# DiffEqGPU's ways to many walkers on a device: a kernel at a fixed step, and one state of all walkers.
module PyNESSDiffEqGPUExt

using DiffEqGPU: DiffEqGPU, EnsembleGPUArray, GPUEM, GPUSIEA, adapt
using KernelAbstractions: KernelAbstractions, synchronize
using Logging: NullLogger, with_logger
using PyNESS: PyNESS, Box, HISTOGRAM_BINS, Inside, LARGEST_STATIC, MODELS, PERIODIC, REFLECT, Tally
using PyNESS: constant_noise, count_length!, legs, portable, restore, seed_of
using SciMLBase: SciMLBase, EnsembleProblem, SDEFunction, SDEProblem, remake, solve
using StaticArrays: SMatrix, SVector

"Noise as a kernel calls it, inside the walls and in the kernel's precision."
struct NoiseInside{G, B}
    g::G
    box::B
end

@inline (n::NoiseInside)(x::SVector) = _as(x, n.g(PyNESS.nearest(n.box, x)))
_as(::SVector{D, T}, value::SVector) where {D, T} = SVector{D, T}(value)
_as(::SVector{D, T}, value::SMatrix) where {D, T} = SMatrix{D, D, T}(value)

struct Constant{R}
    value::R
end

@inline (n::Constant)(x) = n.value

"A function of the state where one of state, parameters and time is asked for."
struct Autonomous{F}
    f::F
end

@inline (a::Autonomous)(u, p, t) = a.f(u)

"The same, in place, on a column of the state of all walkers."
struct Column{D, T, F}
    f::F
end

@inline function (c::Column{D, T})(du, u, p, t) where {D, T}
    value = c.f(SVector{D, T}(ntuple(axis -> @inbounds(u[axis]), Val(D))))
    for axis in 1:D
        @inbounds du[axis] = value[axis]
    end
    return nothing
end

function _fields(::Type{T}, model, drift_parameters, noise_parameters, low, high, kinds, rotation) where {T}
    D = model.dim
    REFLECT in kinds && throw(ArgumentError("DiffEqGPU's solvers know no walls: take SOSRA, whose kernel does"))
    D <= LARGEST_STATIC || throw(ArgumentError("kernels take up to $LARGEST_STATIC coordinates, not $D"))
    box = Box(SVector{D, T}(low), SVector{D, T}(high), kinds)
    drift = Inside(portable(T, model.drift, drift_parameters), box)
    noise = model.additive ? Constant(constant_noise(model, noise_parameters, box.low, rotation)) :
        NoiseInside(portable(T, model.noise, noise_parameters), box)
    return drift, noise, noise(box.low) isa SMatrix, box
end

function PyNESS.sample_ensemble!(
        out::AbstractArray{T, 3}, start, name, algorithm, drift_parameters, noise_parameters;
        device, low, high, kinds, seed, first = 0, burn_in, spacing, dt, burn_in_dt = dt, rotation = nothing, ignored...
    ) where {T}
    D, snapshots, n = size(out)
    drift, noise, matrix, box =
        _fields(T, MODELS[name], drift_parameters, noise_parameters, low, high, kinds, rotation)
    x, before, tally = Array{T}(start), similar(start, T, D, n), Tally()
    time, alive, failures = 0.0, trues(n), Tuple{Int, Float64, Vector{Float64}, String}[]
    for (leg, (goal, steps, step)) in enumerate(legs(burn_in, burn_in_dt, snapshots, spacing, dt))
        h = T(step)
        copyto!(before, x)
        # half a step more: the kernel counts its steps by rounding the quotient of the two
        problem = SDEProblem(
            SDEFunction{false}(Autonomous(drift), Autonomous(noise)), SVector{D, T}(view(x, :, 1)),
            (zero(T), T((steps + 0.5) * step)); noise_rate_prototype = matrix ? zero(SMatrix{D, D, T}) : nothing
        )
        # the kernel seeds from its problem, and from nothing else
        problems = map(1:n) do w
            own = seed_of(seed_of(seed, first + w - 1), leg)
            DiffEqGPU.make_prob_compatible(remake(problem; u0 = SVector{D, T}(view(x, :, w)), seed = own))
        end
        us = with_logger(NullLogger()) do
            DiffEqGPU.vectorized_solve(
                adapt(device, problems), problem, algorithm; dt = h, save_everystep = false
            )[2]
        end
        synchronize(device)
        ends = Array(us)
        for w in 1:n
            x[:, w] .= restore(box, ends[2, w])
            if alive[w] && !all(isfinite, view(x, :, w))
                alive[w] = false
                push!(failures, (first + w - 1, time, Float64.(before[:, w]), "not finite"))
            end
        end
        _count!(tally, step, steps * n)
        time += steps * step
        goal > 0 && copyto!(view(out, :, goal, :), x)
    end
    return _report!(out, tally, alive, failures, (algorithm isa GPUSIEA ? 2 : 1) * tally.accepted)
end

"The problem of each walker, as the versions 2 and 3 of SciMLBase ask for it."
struct Starts{X}
    x::X
end

(s::Starts)(problem, w::Integer, repeat) = remake(problem; u0 = s.x[:, w])
(s::Starts)(problem, context) = s(problem, context.sim_id, 1)

function PyNESS.sample_lockstep!(
        out::AbstractArray{T, 3}, start, name, algorithm, drift_parameters, noise_parameters;
        device, low, high, kinds, seed, first = 0, burn_in, spacing, adaptive, dt, dtmax = spacing, tolerance,
        rotation = nothing, delta = nothing, maxiters = 10_000_000, ignored...
    ) where {T}
    D, snapshots, n = size(out)
    n > 1 || throw(ArgumentError("a batch of one walker: take the engine without a device"))
    drift, noise, matrix, box =
        _fields(T, MODELS[name], drift_parameters, noise_parameters, low, high, kinds, rotation)
    matrix && throw(ArgumentError("all walkers as one state take diagonal noise only"))
    x, saves = Array{T}(start), T[burn_in + k * spacing for k in 1:snapshots]
    problem = SDEProblem(
        SDEFunction{true}(Column{D, T, typeof(drift)}(drift), Column{D, T, typeof(noise)}(noise)),
        x[:, 1], (zero(T), last(saves)), T[0]
    )
    own = seed_of(seed, first)
    PyNESS.seed!(device, own)
    ensemble = EnsembleProblem(problem; prob_func = Starts(x), safetycopy = false)
    found = with_logger(NullLogger()) do
        solve(
            ensemble, algorithm, EnsembleGPUArray(device, 0.0); trajectories = n, seed = own, adaptive, dt = T(dt),
            dtmax = T(dtmax), abstol = adapt(device, repeat(T.(tolerance), 1, n)), reltol = zero(T),
            saveat = saves, tstops = saves, save_start = false, save_everystep = false, maxiters,
            (delta === nothing ? (;) : (; delta = T(delta)))...
        )
    end
    alive, failures, states = trues(n), Tuple{Int, Float64, Vector{Float64}, String}[], zeros(T, D, snapshots, n)
    for w in 1:n
        sol = found.u[w]
        for k in 1:min(snapshots, length(sol.u))
            states[:, k, w] .= restore(box, SVector{D, T}(sol.u[k]))
        end
        if length(sol.u) < snapshots || !all(isfinite, view(states, :, :, w))
            alive[w] = false
            reached = isempty(sol.t) ? 0.0 : Float64(last(sol.t))
            push!(failures, (first + w - 1, reached, Float64.(x[:, w]), string(sol.retcode)))
        end
    end
    copyto!(out, states)
    stats, tally = found.u[1].stats, Tally()
    tally.accepted, tally.rejected = n * stats.naccept, n * stats.nreject
    return _report!(out, tally, alive, failures, n * stats.nf)
end

function _count!(tally, step, count)
    tally.accepted += count
    tally.shortest, tally.longest = min(tally.shortest, step), max(tally.longest, step)
    count_length!(tally, step, count)
    return nothing
end

function _report!(out, tally, alive, failures, evaluations)
    for w in findall(!, alive)
        fill!(view(out, :, :, w), NaN)
    end
    PyNESS.LAST_FOLDS[] = PyNESS.Folds()
    return (
        accepted = tally.accepted, rejected = tally.rejected, evaluations,
        shortest = tally.shortest, longest = tally.longest, histogram = tally.histogram, folds = 0, failures
    )
end

end

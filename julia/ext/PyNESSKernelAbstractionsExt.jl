# Kernels on whatever device KernelAbstractions reaches: walkers with steps of their own, and interacting particles.
module PyNESSKernelAbstractionsExt

using KernelAbstractions: KernelAbstractions, @Const, @index, @kernel, CPU, allocate, synchronize
using PyNESS: PyNESS, Box, DEEPEST, FATES, Folds, Grid, Inside, Itinerary, LARGEST_STATIC, MODELS, Particles, STAGES
using PyNESS: StochasticDiffEq, Stream, Swarm, Tally, WELL, constant_noise, count_length!, deadline, journey!, legs
using PyNESS: logbook, portable
using StaticArrays: SVector

PyNESS.backend(::Val{:cpu}) = CPU()

include("particle_kernels.jl")

"Room for this many records of reflections to begin with; where a walker has more, all is done again with room for them."
const ROOF = 16

@kernel function carry_kernel!(out, log, @Const(start), f, box, itinerary::Itinerary{D, T}, seed, first) where {D, T}
    w = @index(Global, Linear)
    x = SVector{D, T}(ntuple(axis -> @inbounds(start[axis, w]), Val(D)))
    journey!(out, log, x, w, f, box, itinerary, Stream{T}(seed, first + w - 1))
end

function PyNESS.sample_kernel!(
        out::AbstractArray{T, 3}, start, name, algorithm, drift_parameters, noise_parameters;
        device, low, high, kinds, seed, first = 0, burn_in, spacing, adaptive, dt, burn_in_dt = dt, dtmax = spacing,
        tolerance, rotation = nothing, maxiters = 10_000_000, level = nothing, ignored...
    ) where {T}
    model = MODELS[name]
    D, snapshots, n = size(out)
    model.additive || throw(ArgumentError("the kernel takes additive noise only"))
    D <= LARGEST_STATIC || throw(ArgumentError("the kernel takes up to $LARGEST_STATIC coordinates, not $D"))
    box = Box(SVector{D, T}(low), SVector{D, T}(high), kinds)
    noise = constant_noise(model, noise_parameters, box.low, rotation)
    coarse, fine = adaptive || level !== nothing ? (dtmax, dtmax) : (burn_in_dt, dt)
    parts = legs(burn_in, coarse, 1, spacing, fine)
    while length(parts) < 3 # a burn-in has two parts, one or none
        pushfirst!(parts, (0, 0, 0.0))
    end
    counts, lengths = Tuple(steps for (_, steps, _) in parts), Tuple(step for (_, _, step) in parts)
    h = lengths[3]
    first_level = level === nothing ? adaptive ? clamp(ceil(Int, log2(h / dt)), 0, DEEPEST) : 0 : level
    plan(roof) = Itinerary{D, T, typeof(noise)}(
        counts, lengths, snapshots, adaptive, first_level, maxiters, roof, SVector{D, T}(tolerance), noise
    )
    f = Inside(portable(T, model.drift, drift_parameters), box)
    roof = box.walled ? ROOF : 1
    log = _launch!(out, start, f, box, plan(roof), device, UInt64(seed), first)
    most = Int(maximum(log.folds; init = Int32(0)))
    if most > roof
        log = _launch!(out, start, f, box, plan(most), device, UInt64(seed), first)
    end
    return _report!(out, log, lengths, first)
end

function _launch!(out, start, f, box, itinerary::Itinerary{D, T}, device, seed, first) where {D, T}
    n = size(out, 3)
    log = logbook((S, dims) -> fill!(allocate(device, S, dims), zero(S)), T, D, n, Int(itinerary.roof))
    carry_kernel!(device, 64)(out, log, start, f, box, itinerary, seed, first; ndrange = n)
    synchronize(device)
    return map(Array, log)
end

function _report!(out, log, lengths, first)
    tally = Tally()
    for phase in 1:3, level in 0:DEEPEST
        count, step = sum(Int, view(log.accepted, level + 1, phase, :)), ldexp(lengths[phase], -level)
        count == 0 && continue
        tally.accepted += count
        tally.shortest, tally.longest = min(tally.shortest, step), max(tally.longest, step)
        count_length!(tally, step, count)
    end
    failures = Tuple{Int, Float64, Vector{Float64}, String}[]
    D, walkers = size(out, 1), findall(!=(WELL), log.fate)
    for w in walkers
        push!(failures, (first + w - 1, log.time[w], Float64.(log.last[:, w]), FATES[log.fate[w]]))
        fill!(view(out, :, :, w), NaN)
    end
    folds = Folds()
    for w in eachindex(log.folds), k in 1:(log.fate[w] == WELL ? log.folds[w] : 0)
        push!(folds.walker, first + w - 1)
        push!(folds.face, log.face[k, w])
        append!(folds.position, view(log.position, :, k, w))
        push!(folds.displacement, log.displacement[k, w])
    end
    PyNESS.LAST_FOLDS[] = folds
    rejected = sum(Int, log.rejected)
    return (
        accepted = tally.accepted, rejected, evaluations = STAGES * (tally.accepted + rejected),
        shortest = tally.shortest, longest = tally.longest, histogram = tally.histogram, folds = length(folds), failures
    )
end

end

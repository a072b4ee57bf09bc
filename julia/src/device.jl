# Walkers on a device. What needs its packages is in extensions: KernelAbstractions brings `sample_kernel!`, DiffEqGPU
# `sample_ensemble!` and `sample_lockstep!`, CUDA the device itself.

include("device/philox.jl")
include("device/tree.jl")
include("device/method.jl")
include("device/journey.jl")
include("device/swarm.jl")
include("device/lists.jl")

"""
    backend(name)

The device `"cpu"` (with KernelAbstractions loaded) or `"cuda"` (with CUDA and KernelAbstractions).
"""
backend(name::AbstractString) = backend(Val(Symbol(name)))
backend(::Val{name}) where {name} =
    throw(ArgumentError("no device $name: load KernelAbstractions, and for cuda a working CUDA, before"))

"""
    on_device(address, T, dims)

The array of device memory at an address that somebody else owns and keeps alive: no copy (with CUDA loaded).
"""
function on_device end

"""
    seed!(backend, seed)

Seed whatever generator of its own the device has, for solvers that use it.
"""
seed!(backend, seed) = nothing

"""
    sample_kernel!(out, start, name, algorithm, drift_parameters, noise_parameters; device, plan...)

As [`sample!`](@ref), by a kernel that carries each walker with steps of its own: SOSRA, additive noise, reflecting,
periodic and open sides. Steps are the longest one, at most `dtmax`, divided by powers of two; the Brownian path is a
function of seed and walker and is refined where a step is rejected. `algorithm` is ignored: there is one.
"""
function sample_kernel! end

"""
    sample_ensemble!(out, start, name, algorithm, drift_parameters, noise_parameters; device, plan...)

As [`sample!`](@ref), by DiffEqGPU's kernels (`GPUEM`, `GPUSIEA`) at a fixed step, without reflecting sides.
"""
function sample_ensemble! end

"""
    sample_lockstep!(out, start, name, algorithm, drift_parameters, noise_parameters; device, plan...)

As [`sample!`](@ref), by a solver of StochasticDiffEq on all walkers as one state, which therefore share their steps
(DiffEqGPU's `EnsembleGPUArray`); diagonal noise, without reflecting sides.
"""
function sample_lockstep! end

"""
    sample_particles!(out, start, name, algorithm, drift_parameters, noise_parameters; device, plan...)

As [`sample!`](@ref), of a model of [`Particles`](@ref), with a device thread to each particle: EM and SOSRA at a fixed step.
Neighbours are listed on the device; a table that is too narrow for them is made again with room for all.
"""
function sample_particles! end

"""
A function of a model with parameters that a kernel can hold: `isbits`; numbers in its precision `T`, since those in double
precision would make all that they meet so.
"""
portable(::Type{T}, f, p::AbstractVector) where {T} = Bound(f, SVector{length(p), T}(p))
portable(::Type, f, p) = isbits(p) ? Bound(f, p) :
    throw(ArgumentError("parameters of type $(typeof(p)) cannot be passed to a kernel: numbers only"))

"The constant noise of a model in the coordinates `x`: a vector, or a matrix."
function constant_noise(model, parameters, corner::SVector{D, T}, rotation) where {D, T}
    noise = model.noise(SVector{D, Float64}(corner), parameters, 0.0)
    noise isa SMatrix && return SMatrix{D, D, T}(noise)
    rotation === nothing && return SVector{D, T}(noise)
    return SMatrix{D, D, T}(rotation .* reshape(collect(noise), 1, D))
end

"""
    PyNESS

Samples of stochastic differential equations `dX = F(X) dt + sqrt(2 D(X)) dW` (Ito) in their steady state, by the
solvers of DifferentialEquations.jl: independent walkers over threads, each with its own random numbers, in boxes whose
sides reflect, wrap round or are open, and between linear walls. Every number depends on a walker's own number and
seed, never on the number of threads or on which walkers ran before.

[`define`](@ref) compiles a model from source, [`check!`](@ref) evaluates it, [`sample!`](@ref) fills an array with
states and returns the counts, [`folds!`](@ref) hands over the records of reflections.
"""
module PyNESS

using DiffEqNoiseProcess: RSWM, WienerProcess, WienerProcess!
using ForwardDiff: ForwardDiff, Dual
using FunctionWrappers: FunctionWrapper
using Logging: NullLogger, with_logger
using PrecompileTools: @compile_workload, @setup_workload
using Random: Xoshiro
using SciMLBase: SciMLBase, ReturnCode, SDEProblem, get_proposed_dt, init, set_proposed_dt!, step!
using StaticArrays: MMatrix, MVector, SMatrix, SVector, StaticArray, setindex
using StochasticDiffEq: StochasticDiffEq

# where the traits of algorithms live: from version 7 on the solvers are in packages of their own
const Traits = isdefined(StochasticDiffEq, :StochasticDiffEqCore) ? StochasticDiffEq.StochasticDiffEqCore : StochasticDiffEq

export algorithm, check!, define, folds!, sample!

include("elementary.jl")
include("linear_walls.jl")
include("box.jl")
include("model.jl")
include("fields.jl")
include("neighbours.jl")
include("particles.jl")
include("plan.jl")
include("tally.jl")
include("walker.jl")
include("sample.jl")
include("device.jl")
include("workload.jl")

end

# What is counted while walkers are under way.

# accepted steps are counted in bins of a tenth of a decade from 1e-12 to 1e4
const FIRST_DECADE, BINS_PER_DECADE, HISTOGRAM_BINS = -12, 10, 160

"A walker that blew up: its number, the time, the last finite state, and the solver's reason."
struct Failure
    walker::Int
    time::Float64
    state::Vector{Float64}
    reason::String
end

mutable struct Tally
    accepted::Int
    rejected::Int
    evaluations::Int
    shortest::Float64
    longest::Float64
    histogram::Vector{Int}
    folds::Folds
    failures::Vector{Failure}
    cut::Bool
end

Tally() = Tally(0, 0, 0, Inf, 0.0, zeros(Int, HISTOGRAM_BINS), Folds(), Failure[], false)

"Whether the call has taken more than it may; the task then leaves its walker unfinished."
over!(tally::Tally, plan, drift) = tally.cut = drift.evaluations > plan.most || time_ns() > plan.deadline

@inline function count_length!(tally::Tally, step, count = 1)
    bin = floor((log10(step) - FIRST_DECADE) * BINS_PER_DECADE)
    tally.histogram[1 + unsafe_trunc(Int, clamp(bin, 0.0, HISTOGRAM_BINS - 1.0))] += count
    return nothing
end

"Several tallies as one; records of walkers in the order of their numbers, whoever made them."
function merged(tallies::Vector{Tally}, dim::Int)
    out = Tally()
    for tally in tallies
        out.accepted += tally.accepted
        out.rejected += tally.rejected
        out.evaluations += tally.evaluations
        out.shortest = min(out.shortest, tally.shortest)
        out.longest = max(out.longest, tally.longest)
        out.histogram .+= tally.histogram
        append!(out.failures, tally.failures)
        out.cut |= tally.cut
    end
    sort!(out.failures; by = failure -> failure.walker)
    walkers = reduce(vcat, (tally.folds.walker for tally in tallies))
    order = sortperm(walkers; alg = MergeSort) # stable: the folds of one walker stay in time
    positions = reshape(reduce(vcat, (tally.folds.position for tally in tallies)), dim, :)
    gather(field) = reduce(vcat, (getfield(tally.folds, field) for tally in tallies))[order]
    append!(out.folds.walker, walkers[order])
    append!(out.folds.face, gather(:face))
    append!(out.folds.position, vec(positions[:, order]))
    append!(out.folds.displacement, gather(:displacement))
    return out
end

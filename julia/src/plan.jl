# How long, how many, how fine.

"""
What all walkers of a call share: times, steps, tolerances.

`dt` is the step of a fixed-step method and the first step tried of an adaptive one; `burn_in_dt` a coarser one for all
but the end of the burn-in (see [`legs`](@ref)). `tolerance` is the absolute error allowed in a step for each coordinate
(of Newton's iteration at a fixed step); `delta` weighs the drift in the error estimates of the SRK methods. A call stops
at the `deadline` (of `time_ns`), and a task that has evaluated the drift more than `most` times.
"""
struct Plan{V}
    burn_in::Float64
    snapshots::Int
    spacing::Float64
    adaptive::Bool
    dt::Float64
    burn_in_dt::Float64
    dtmax::Float64
    tolerance::V
    delta::Float64
    maxiters::Int
    deadline::UInt64
    most::Float64
end

"When snapshots are taken; the burn-in, where there is one, comes first."
stops(plan::Plan) =
    [plan.burn_in > 0 ? [plan.burn_in] : Float64[]; [plan.burn_in + k * plan.spacing for k in 1:plan.snapshots]]

"Number and length of the equal steps that a duration is divided into: none longer than `dt` beyond rounding."
function divided(duration, dt)
    steps = max(1, ceil(Int, duration / dt * (1 - 1.0e-9)))
    return steps, duration / steps
end

"The share of a burn-in with a step of its own that is made with that of the run."
const FINE = 0.01

"""
    legs(burn_in, burn_in_dt, snapshots, spacing, dt)

What the way is divided into at a fixed step, as the number of the snapshot at its end (0 where none is taken), and the
number and the length of its steps. What is fast forgets a coarser step of the burn-in in its last hundredth.
"""
function legs(burn_in, burn_in_dt, snapshots, spacing, dt)
    burns = burn_in_dt == dt ? [(burn_in, dt)] : [((1 - FINE) * burn_in, burn_in_dt), (FINE * burn_in, dt)]
    parts = Tuple{Int, Int, Float64}[(0, divided(part...)...) for part in burns if burn_in > 0]
    return append!(parts, [(k, divided(spacing, dt)...) for k in 1:snapshots])
end

"The `time_ns` at which so many seconds are over; more than thirty years are never."
deadline(seconds) = seconds < 1.0e9 ? time_ns() + round(UInt64, 1.0e9 * seconds) : typemax(UInt64)

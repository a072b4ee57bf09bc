# Many walkers over threads.

"Walkers that a task takes at a time."
const BATCH = 4

"The records of the last call of `sample!`."
const LAST_FOLDS = Ref(Folds())

"Versions of what the results depend on."
versions() = Dict(string(m) => string(pkgversion(m)) for m in (PyNESS, StochasticDiffEq, SciMLBase))

"""
    algorithm(text)

The algorithm that `"SOSRA"` or an expression such as `"ImplicitEM(theta=0.5)"` names, as StochasticDiffEq calls them.
"""
function algorithm(text::AbstractString)
    named = Core.eval(StochasticDiffEq, Meta.parse(text))
    return named isa Type ? named() : named
end

"""
    sample!(out, start, name, algorithm, drift_parameters, noise_parameters; low, high, kinds, seed, first, plan...)

Carry the walkers that start in the columns of `start: (dim, n)` through the plan and write their snapshots into
`out: (dim, snapshots, n)`. The states of a walker that failed are NaN.

- `name`: of a model given to [`define`](@ref), with its parameters.
- `low, high, kinds`: the box; 0 open, 1 reflecting, 2 periodic for each coordinate.
- `seed`: of all of them; `first`: the number of the first walker, counted from zero. A walker's noise depends on the
  two alone.
- `burn_in, snapshots, spacing, adaptive, dt, burn_in_dt, dtmax, tolerance, maxiters`: see [`Plan`](@ref).
- `inplace`: states are vectors even where they could be static; `specialised`: compile a solver for this model alone.

Returns the counts, and the failures as `(walker, time, state, reason)`, walkers counted from zero like `first`.
"""
function sample!(
        out, start, name, algorithm, drift_parameters, noise_parameters;
        low, high, kinds, seed, first = 0, burn_in, spacing, adaptive, dt, burn_in_dt = dt, dtmax = spacing,
        tolerance, maxiters = 10_000_000, inplace = false, specialised = false
    )
    model = MODELS[name]
    static = model.dim <= LARGEST_STATIC && !inplace
    V = static ? SVector{model.dim, Float64} : Vector{Float64}
    plan = Plan{V}(
        burn_in, size(out, 2), spacing, adaptive, dt, burn_in_dt, dtmax, V(tolerance), adaptive ? maxiters : typemax(Int)
    )
    box = Box(V(low), V(high), kinds)
    derivative = hasproperty(algorithm, :nlsolve)
    next, walkers = Threads.Atomic{Int}(1), size(start, 2)
    tasks = map(1:min(Threads.nthreads(), cld(walkers, BATCH))) do _
        # each task has its own: they count and may hold scratch space
        sde = equation(V, model, drift_parameters, noise_parameters, box; specialised, derivative)
        return Threads.@spawn with_logger(NullLogger()) do
            _carry!(out, start, sde, algorithm, box, plan, UInt64(seed), Int(first), next)
        end
    end
    tally = merged(Tally[fetch(task) for task in tasks], model.dim)
    LAST_FOLDS[] = tally.folds
    return (
        accepted = tally.accepted, rejected = tally.rejected, evaluations = tally.evaluations,
        shortest = tally.shortest, longest = tally.longest, histogram = tally.histogram, folds = length(tally.folds),
        failures = [(f.walker, f.time, f.state, f.reason) for f in tally.failures],
    )
end

function _carry!(out, start, sde, algorithm, box::Box{V}, plan, seed, first, next) where {V}
    tally = Tally()
    states = zeros(length(box.low), plan.snapshots)
    walkers = size(start, 2)
    while true
        begun = Threads.atomic_add!(next, BATCH)
        begun > walkers && break
        for w in begun:min(begun + BATCH - 1, walkers)
            number = first + w - 1
            x = V(view(start, :, w))
            alive = walk!(states, sde, x, algorithm, plan, box, seed_of(seed, number), number, tally)
            out[:, :, w] .= alive ? states : NaN
        end
    end
    tally.evaluations = sde.drift.evaluations
    return tally
end

"""
    folds!(walker, face, position, displacement)

Copy the records of the last [`sample!`](@ref) into arrays of the length it reported (`position: (dim, n)`).
"""
function folds!(walker, face, position, displacement)
    folds = LAST_FOLDS[]
    copyto!(walker, folds.walker)
    copyto!(face, folds.face)
    copyto!(position, folds.position)
    copyto!(displacement, folds.displacement)
    LAST_FOLDS[] = Folds()
    return nothing
end

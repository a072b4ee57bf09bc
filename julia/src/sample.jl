# Many walkers over threads.

"Walkers that a task takes at a time; of particle systems one."
const BATCH = 4

"The records of the last call of `sample!`."
const LAST_FOLDS = Ref(Folds())

"Versions of what the results depend on."
versions() = Dict(string(m) => string(pkgversion(m)) for m in (PyNESS, StochasticDiffEq, SciMLBase))

"""
    algorithm(text; patient = false)

The algorithm that `"SOSRA"` or an expression such as `"ImplicitEM(theta=0.5)"` names, as StochasticDiffEq calls them.
`patient` gives an implicit one a Newton iteration that renews its matrix in every step and is not given up early: at a
fixed step nothing else can be done about one that does not converge.
"""
function algorithm(text::AbstractString; patient::Bool = false)
    expression = Meta.parse(text)
    named = Core.eval(StochasticDiffEq, expression)
    if named isa Union{Type, Function}
        expression = Expr(:call, expression)
        named = named()
    end
    patient && hasproperty(named, :nlsolve) || return named
    newton = Base.typename(typeof(named.nlsolve)).wrapper
    push!(expression.args, Expr(:kw, :nlsolve, newton(; max_iter = 50, check_div = false, always_new = true)))
    return Core.eval(StochasticDiffEq, expression)
end

"""
    vectors_only(algorithm, matrix, adaptive)

Whether an algorithm has no working form for static states (tried with StochasticDiffEq 6.66).
"""
function vectors_only(algorithm, matrix::Bool, adaptive::Bool)
    name = string(nameof(typeof(algorithm)))
    name in ("SRA2", "SRI", "ImplicitEulerHeun", "TangXiaoSROCK2") && return true
    name == "SROCK1" && return !matrix
    name == "SKenCarp" && return adaptive
    # whose error estimate in the static form takes the noise for a drift: the step goes to zero
    name in ("RKMil", "RKMilGeneral") && return adaptive && !matrix
    name in ("LambaEulerHeun", "ImplicitEM", "KomBurSROCK2") && return matrix
    return name in WEAK
end

# the weak second-order family writes into its arrays
const WEAK = (
    "DRI1", "RI1", "RI3", "RI5", "RI6", "RDI1WM", "RDI2WM", "RDI3WM", "RDI4WM", "W2Ito1", "IRI1", "PL1WM", "PL1WMA",
    "RS1", "RS2", "NON", "NON2", "COM", "SIEA", "SIEB", "SMEA", "SMEB",
)

"""
    sample!(out, start, name, algorithm, drift_parameters, noise_parameters; low, high, kinds, walls, seed, first, plan...)

Carry the walkers that start in the columns of `start: (dim, n)` through the plan and write their snapshots into
`out: (dim, snapshots, n)`. The states of a walker that failed are NaN.

- `name`: of a model given to [`define`](@ref), with its parameters.
- `low, high, kinds`: the box; 0 open, 1 reflecting, 2 periodic for each coordinate. `walls`: where given, the linear ones
  as [`LinearWalls`](@ref) has them, normals in columns.
- `seed`: of all of them; `first`: the number of the first walker, counted from zero. A walker's noise depends on the
  two alone.
- `rotation`: an orthogonal matrix `Q` where the noise is diagonal in the coordinates `Q' x` only; the noise of the model is
  meant in these, all else in `x`. With a constant matrix of noise every solver then meets diagonal noise.
- `burn_in, snapshots, spacing, adaptive, dt, burn_in_dt, dtmax, tolerance, delta, maxiters, most`: see [`Plan`](@ref);
  `seconds`: until its deadline.
- `lengths: (snapshots, n)`: where given, an adaptive method enters the step it is about to take at each snapshot.
- `inplace`: states are vectors even where they could be static; `specialised`: compile a solver for this model alone.

Returns the counts, whether it was cut short (by `seconds` or `most`; then not all of `out` is written), and the failures as `(walker, time, state, reason)`, walkers counted from zero like `first`.
"""
function sample!(
        out, start, name, algorithm, drift_parameters, noise_parameters;
        low, high, kinds, walls = nothing, seed, first = 0, burn_in, spacing, adaptive, dt, burn_in_dt = dt, dtmax = spacing,
        tolerance, delta = nothing, rotation = nothing, maxiters = 10_000_000, inplace = false, specialised = false,
        lengths = nothing, seconds = Inf, most = Inf
    )
    model = MODELS[name]
    many = drift_parameters isa Particles
    inplace = inplace || many || model.dim > LARGEST_STATIC || vectors_only(algorithm, model.matrix, adaptive)
    V = inplace ? Vector{Float64} : SVector{model.dim, Float64}
    box, frame = Box(V(low), V(high), kinds, _linear(V, walls)), Frame(V, rotation)
    plan = Plan{V}(
        burn_in, size(out, 2), spacing, adaptive, dt, burn_in_dt, dtmax, along(frame, V(tolerance)),
        something(delta, Traits.delta_default(algorithm)), adaptive ? maxiters : typemax(Int),
        deadline(seconds), most
    )
    derivative = hasproperty(algorithm, :nlsolve)
    next, walkers, batch = Threads.Atomic{Int}(1), size(start, 2), many ? 1 : BATCH
    count = min(Threads.nthreads(), cld(walkers, batch))
    tasks = map(1:count) do _
        return Threads.@spawn with_logger(NullLogger()) do
            # each task has its own, since they count and may hold scratch space, and makes it itself: counters that
            # lie side by side in memory would slow each other down
            p = own(drift_parameters, Threads.nthreads() ÷ count)
            sde = equation(V, model, p, noise_parameters, box, frame; specialised, derivative)
            _carry!(out, lengths, start, sde, algorithm, box, frame, plan, UInt64(seed), Int(first), next, batch)
        end
    end
    tally = merged(Tally[fetch(task) for task in tasks], model.dim)
    LAST_FOLDS[] = tally.folds
    return (
        accepted = tally.accepted, rejected = tally.rejected, evaluations = tally.evaluations,
        shortest = tally.shortest, longest = tally.longest, histogram = tally.histogram, folds = length(tally.folds),
        failures = [(f.walker, f.time, f.state, f.reason) for f in tally.failures], cut = tally.cut,
    )
end

_linear(::Type, ::Nothing) = nothing
_linear(::Type{V}, (normals, offsets, inner)) where {V} =
    LinearWalls(V[V(n) for n in eachcol(normals)], Vector{Float64}(offsets), V(inner))

function _carry!(out, lengths, start, sde, algorithm, box::Box{V}, frame, plan, seed, first, next, batch) where {V}
    tally = Tally()
    states, steps = zeros(length(box.low), plan.snapshots), zeros(plan.snapshots)
    walkers = size(start, 2)
    while true
        begun = Threads.atomic_add!(next, batch)
        (begun > walkers || tally.cut) && break
        for w in begun:min(begun + batch - 1, walkers)
            number = first + w - 1
            x = V(view(start, :, w))
            alive = walk!(states, steps, sde, x, algorithm, plan, box, frame, seed_of(seed, number), number, tally)
            tally.cut && break
            out[:, :, w] .= alive ? states : NaN
            lengths === nothing || (lengths[:, w] .= alive ? steps : NaN)
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

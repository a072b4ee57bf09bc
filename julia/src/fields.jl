# Models as solvers see them. Where a field is `erased` its type depends on its dimension alone, not on the model: a solver
# compiled for one model serves all of that dimension, and those that the package has compiled beforehand need no
# compiling at all. The price is a call through a pointer for each evaluation; `specialised` fields are compiled into the
# solver, which pays in long runs of cheap steps.

"A function of a model with its parameters."
struct Bound{F, P}
    f::F
    p::P
end

@inline (b::Bound)(u) = b.f(u, b.p, 0.0)
@inline (b::Bound)(du, u) = (b.f(du, u, b.p, 0.0); nothing)

"""
    Frame(V, rotation)

The coordinates a solver works in: `Q' x` where a rotation `Q` is given, else `x` itself (`nothing`).
"""
struct Frame{Q}
    out::Q
    in::Q
end

Frame(::Type, ::Nothing) = nothing
Frame(::Type{SVector{N, Float64}}, rotation::AbstractMatrix) where {N} = _frame(SMatrix{N, N, Float64, N * N}(rotation))
Frame(::Type{Vector{Float64}}, rotation::AbstractMatrix) = _frame(Matrix{Float64}(rotation))
_frame(out) = Frame(out, typeof(out)(out'))

@inline inward(::Nothing, x) = x
@inline outward(::Nothing, y) = y
@inline inward(frame::Frame, x) = frame.in * x
@inline outward(frame::Frame, y) = frame.out * y

"Errors allowed along the axes of `x` as errors along those of the frame."
along(::Nothing, tolerance) = tolerance
along(frame::Frame, tolerance) = sqrt.((frame.in .^ 2) * tolerance .^ 2)

"A drift in the coordinates of a frame."
struct Turned{F, Q}
    f::F
    frame::Q
end

@inline (d::Turned)(y) = inward(d.frame, d.f(outward(d.frame, y)))
function (d::Turned)(dy, y)
    x, dx = outward(d.frame, y), similar(dy)
    d.f(dx, x)
    copyto!(dy, inward(d.frame, dx))
    return nothing
end

turned(f, ::Nothing) = f
turned(f, frame::Frame) = Turned(f, frame)

"The derivative of a field, by automatic differentiation."
struct Jacobian{F}
    f::F
end

(j::Jacobian)(u) = ForwardDiff.jacobian(j.f, u)

"In place of a derivative that a solver does not ask for."
struct NoJacobian end

(::NoJacobian)(u::SVector{N}) where {N} = zero(SMatrix{N, N, Float64})

const ErasedVector{N} = FunctionWrapper{SVector{N, Float64}, Tuple{SVector{N, Float64}}}
const ErasedMatrix{N, L} = FunctionWrapper{SMatrix{N, N, Float64, L}, Tuple{SVector{N, Float64}}}
const ErasedInPlace{R} = FunctionWrapper{Nothing, Tuple{R, Vector{Float64}}}

# Fields are evaluated inside the walls, and evaluations of the drift are counted. They are mutable so that solvers hand
# on a reference instead of a copy; and not inlined, because then the function of many arguments in which SciML wraps them
# would not be, which puts every argument on the heap.

mutable struct StaticDrift{N, F, J, B <: Box}
    const f::F
    const jacobian::J
    const box::B
    evaluations::Int
end

@noinline function (d::StaticDrift{N})(u::SVector{N, Float64}, p, t) where {N}
    d.evaluations += 1
    return d.f(nearest(d.box, u))
end

function (d::StaticDrift{N})(u::SVector{N, Dual{Tag, Float64, M}}, p, t) where {N, Tag, M}
    d.evaluations += 1
    x = nearest(d.box, u)
    point = ForwardDiff.value.(x)
    value, slope = d.f(point), d.jacobian(point)
    return SVector{N}(ntuple(i -> Dual{Tag}(value[i], sum(j -> slope[i, j] * ForwardDiff.partials(x[j]), 1:N)), Val(N)))
end

mutable struct StaticNoise{G, B <: Box}
    const g::G
    const box::B
end

@noinline (n::StaticNoise)(u, p, t) = n.g(nearest(n.box, u))

"Noise that does not depend on the state."
mutable struct Additive{R}
    const value::R
end

@inline (n::Additive)(u, p, t) = n.value
@inline (n::Additive)(du, u, p, t) = (copyto!(du, n.value); nothing)

mutable struct VectorDrift{F, B <: Box}
    const f!::F
    const raw!::Any
    const box::B
    const inside::Vector{Float64}
    evaluations::Int
end

@noinline function (d::VectorDrift)(du::Vector{Float64}, u::Vector{Float64}, p, t)
    d.evaluations += 1
    d.f!(du, _inside!(d, u))
    return nothing
end

function (d::VectorDrift)(du, u, p, t) # dual numbers
    d.evaluations += 1
    d.raw!(du, bounded(d.box) ? nearest(d.box, u) : u)
    return nothing
end

mutable struct VectorNoise{G, B <: Box}
    const g!::G
    const box::B
    const inside::Vector{Float64}
end

@noinline function (n::VectorNoise)(du, u, p, t)
    n.g!(du, _inside!(n, u))
    return nothing
end

@inline _inside!(field, u) = bounded(field.box) ? (field.inside .= nearest(field.box, u)) : u

"Drift and noise, and a matrix of the noise's shape where a coordinate has more than its own."
struct Equation{InPlace, F, G, R}
    drift::F
    noise::G
    prototype::R
end

Equation{InPlace}(drift::F, noise::G, prototype::R) where {InPlace, F, G, R} =
    Equation{InPlace, F, G, R}(drift, noise, prototype)

"""
    equation(V, model, drift_parameters, noise_parameters, box, frame; specialised, derivative)

A model for states of type `V`. `derivative` says whether the solver will ask for one.
"""
function equation(::Type{SVector{N, Float64}}, model, drift_p, noise_p, box, frame; specialised, derivative) where {N}
    f, g = turned(Bound(model.drift, drift_p), frame), Bound(model.noise, noise_p)
    frame === nothing || (box = _open(box)) # which has no place in other coordinates and is seen to after each step
    slope = derivative ? Jacobian(f) : NoJacobian()
    prototype = model.matrix ? zero(SMatrix{N, N, Float64}) : nothing
    if !specialised
        f, slope = ErasedVector{N}(f), ErasedMatrix{N, N * N}(slope)
        g = (model.matrix ? ErasedMatrix{N, N * N} : ErasedVector{N})(g)
    end
    drift = StaticDrift{N, typeof(f), typeof(slope), typeof(box)}(f, slope, box, 0)
    noise = model.additive ? Additive(g(box.low)) : StaticNoise(g, box)
    return Equation{false}(drift, noise, prototype)
end

function equation(::Type{Vector{Float64}}, model, drift_p, noise_p, box, frame; specialised, derivative)
    raw, g = turned(Bound(model.drift!, drift_p), frame), Bound(model.noise!, noise_p)
    # particles are periodic by themselves; other coordinates than theirs have no box at all
    frame === nothing && !(drift_p isa Particles) || (box = _open(box))
    prototype = model.matrix ? zeros(model.dim, model.dim) : nothing
    f = raw
    if !specialised
        f = ErasedInPlace{Vector{Float64}}(f)
        g = ErasedInPlace{model.matrix ? Matrix{Float64} : Vector{Float64}}(g)
    end
    drift = VectorDrift(f, raw, box, zeros(model.dim), 0)
    noise = if model.additive
        value = model.matrix ? zeros(model.dim, model.dim) : zeros(model.dim)
        g(value, box.low)
        Additive(value)
    else
        VectorNoise(g, box, zeros(model.dim))
    end
    return Equation{true}(drift, noise, prototype)
end

_open(box) = Box(box.low, box.high, fill(OPEN, length(box.low)))

problem(e::Equation{InPlace}, u0, tend, process) where {InPlace} = SDEProblem(
    SciMLBase.SDEFunction{InPlace}(e.drift, e.noise), u0, (0.0, tend);
    noise_rate_prototype = e.prototype, noise = process
)

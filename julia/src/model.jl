# Models: drift and noise compiled from source and kept by name.

"""
A compiled model. `drift!`, `noise!` are in place, `drift`, `noise` return static arrays; `noise` is `sqrt(2 D)`, a
vector (each coordinate its own noise) or a matrix; `additive` says that it is the same everywhere. All take `(u, p, t)`, with `du` in front where they are in place.
"""
struct Model
    room::Module # the functions live in it and must not outlive it
    dim::Int
    matrix::Bool
    additive::Bool
    drift!::Any
    drift::Any
    noise!::Any
    noise::Any
end

const MODELS = Dict{String, Model}()

"States of up to this many coordinates are static arrays."
const LARGEST_STATIC = 20

"""
    define(name, source, dim, matrix, additive)

Compile `source` and keep the model under `name`, unless there is one of that name. The source defines
`drift!(du, u, p, t)` and `noise!(du, u, p, t)` and may define `drift(u, p, t)` and `noise(u, p, t)`, which return static
arrays and are derived from the former otherwise. It sees `StaticArrays` and [`Elementary`](@ref). `matrix` says whether
the noise is a `dim` by `dim` matrix, `additive` whether it does not depend on the state.
"""
function define(name::AbstractString, source::AbstractString, dim::Integer, matrix::Bool, additive::Bool)
    haskey(MODELS, name) && return nothing
    room = Module(:PyNESSModel)
    Core.eval(room, :(using StaticArrays, PyNESS.Elementary))
    include_string(room, source, "model")
    MODELS[name] = Model(room, dim, matrix, additive)
    return nothing
end

function Model(room::Module, dim, matrix, additive)
    function take(word)
        isdefined(room, word) || throw(ArgumentError("the source defines no function $word(du, u, p, t)"))
        return getfield(room, word)
    end
    drift!, noise! = take(:drift!), take(:noise!)
    drift = isdefined(room, :drift) ? room.drift : Static{dim, false, typeof(drift!)}(drift!)
    noise = isdefined(room, :noise) ? room.noise : Static{dim, matrix, typeof(noise!)}(noise!)
    return Model(room, dim, matrix, additive, drift!, drift, noise!, noise)
end

"An in-place function as one that returns a static array."
struct Static{N, Matrix, F}
    f!::F
end

@inline function (s::Static{N, false})(u, p, t) where {N}
    du = MVector{N, eltype(u)}(undef)
    s.f!(du, u, p, t)
    return SVector(du)
end

@inline function (s::Static{N, true})(u, p, t) where {N}
    du = MMatrix{N, N, eltype(u)}(undef)
    s.f!(du, u, p, t)
    return SMatrix(du)
end

"""
    check!(drift, noise, name, x, drift_parameters, noise_parameters; static)

Evaluate the model `name` at the columns of `x`: the drift into the columns of `drift`, the noise into the slices of
`noise`. `static` asks for the functions that return static arrays.
"""
function check!(drift, noise, name, x, drift_parameters, noise_parameters; static::Bool = false)
    model = MODELS[name]
    dims = ntuple(_ -> Colon(), ndims(noise) - 1)
    for k in axes(x, 2)
        if static
            u = SVector{model.dim, Float64}(view(x, :, k))
            drift[:, k] .= model.drift(u, drift_parameters, 0.0)
            noise[dims..., k] .= model.noise(u, noise_parameters, 0.0)
        else
            u = x[:, k]
            model.drift!(view(drift, :, k), u, drift_parameters, 0.0)
            model.noise!(view(noise, dims..., k), u, noise_parameters, 0.0)
        end
    end
    return nothing
end

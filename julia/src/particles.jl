# The drift of interacting active particles: pair forces within a cutoff, a trap, a force on each, and the activity.

"""
    Particles(n, low, periods, cutoff; trap, speed, rate, noise, angles, exact, species, numbers)

What the drift of `n` active particles depends on besides its functions, with the neighbour lists that it keeps; each task
carries one of its own. States are all positions, `length(periods)` coordinates each, then all activities: a vector each,
or an angle each where `angles`. `low, periods` are those of the box, `Inf` where it is open. `exact` asks for the exact
transition of the activities after each step of EM. `species` are labels with blanks between, or none; `numbers` the
parameters of the functions.
"""
struct Particles{D, Angles}
    n::Int
    low::SVector{D, Float64}
    trap::Float64
    speed::Float64
    rate::Float64
    noise::Float64
    exact::Bool
    species::Vector{Int32}
    numbers::Vector{Float64}
    neighbours::Neighbours{D}
    tasks::Int
end

function Particles(
        n::Int, low, periods, cutoff; trap, speed, rate, noise, angles::Bool, exact::Bool, species::String, numbers
    )
    D, labels = length(periods), parse.(Int32, split(species))
    return Particles{D, angles}(
        n, low, trap, speed, rate, noise, exact, isempty(labels) ? zeros(Int32, n) : labels, numbers,
        Neighbours{D}(n, SVector{D, Float64}(periods), Float64(cutoff)), 1
    )
end

"Parameters for one of several tasks, which may use `tasks` threads: what functions write into must be its own."
own(p, tasks) = p
own(p::Particles{D, Angles}, tasks) where {D, Angles} = Particles{D, Angles}(
    p.n, p.low, p.trap, p.speed, p.rate, p.noise, p.exact, p.species, p.numbers,
    Neighbours{D}(p.n, p.neighbours.periods, p.neighbours.cutoff), tasks
)

"Forget what belongs to the last walker."
restart!(_) = nothing
restart!(p::Particles) = restart!(p.neighbours)
restart!(b::Bound) = restart!(b.p)
restart!(d::VectorDrift) = restart!(d.raw!)

@inline position(::Val{D}, u, i) where {D} = SVector{D}(ntuple(k -> @inbounds(u[D * (i - 1) + k]), Val(D)))

"""
    particle_drift!(du, u, p::Particles, pair, external)

`pair(r, a, b, numbers)` is the force between particles of labels `a` and `b` at distance `r`, positive where it repels, or
`nothing`; `external(x, numbers)` the force on a particle at `x` inside the box, or `nothing`.
"""
function particle_drift!(du, u, p::Particles{D}, pair::F, external::G) where {D, F, G}
    pair === nothing || follow!(p.neighbours, i -> ForwardDiff.value.(position(Val(D), u, i)))
    if p.tasks == 1
        _push!(du, u, p, pair, external, 1:p.n)
    else
        # a sum for each particle over its own list: how they are shared out changes no bit
        @sync for part in Iterators.partition(1:p.n, cld(p.n, p.tasks))
            Threads.@spawn _push!(du, u, p, pair, external, part)
        end
    end
    return nothing
end

function _push!(du, u, p::Particles{D}, pair::F, external::G, part) where {D, F, G}
    @inbounds for i in part
        x = position(Val(D), u, i)
        total = pair === nothing ? zero(x) : _pairs(u, p, pair, i, x)
        total -= p.trap * x
        external === nothing || (total += external(_inside(p.low, p.neighbours.periods, x), p.numbers))
        velocity = total + _drive!(du, u, p, i)
        for k in 1:D
            du[D * (i - 1) + k] = velocity[k]
        end
    end
    return nothing
end

@inline function _pairs(u, p::Particles{D}, pair::F, i, x) where {D, F}
    list, total = p.neighbours, zero(x)
    @inbounds for k in list.first[i]:(list.first[i + 1] - 1)
        j = list.other[k]
        d = nearest_image(x - position(Val(D), u, j), list.periods)
        square = sum(abs2, d)
        square < list.cutoff^2 || continue
        r = sqrt(max(square, oftype(square, 1.0e-30)))
        total += (pair(r, p.species[i], p.species[j], p.numbers) / r) * d
    end
    return total
end

@inline _inside(low, periods, x) =
    x - ifelse.(isfinite.(periods), periods .* floor.((x - low) ./ periods), zero(periods))

"The velocity that the activity of particle `i` gives it."
@inline _velocity(u, p::Particles{D, false}, i) where {D} = p.speed * position(Val(D), u, p.n + i)

@inline function _velocity(u, p::Particles{2, true}, i)
    angle = @inbounds u[2 * p.n + i]
    return p.speed * SVector(Elementary.nancos(angle), Elementary.nansin(angle))
end

"The drift of the activity of particle `i`, and the velocity that it gives."
@inline function _drive!(du, u, p::Particles{D, false}, i) where {D}
    g = position(Val(D), u, p.n + i)
    @inbounds for k in 1:D
        du[D * (p.n + i - 1) + k] = -p.rate * g[k]
    end
    return _velocity(u, p, i)
end

@inline function _drive!(du, u, p::Particles{2, true}, i)
    angle = @inbounds u[2 * p.n + i]
    @inbounds du[2 * p.n + i] = zero(angle)
    return _velocity(u, p, i)
end

"`sqrt(2 D)`: of the positions, then of the activities."
function particle_noise!(du, p::Particles{D}) where {D}
    du[1:(D * p.n)] .= sqrt(2 * p.noise)
    du[(D * p.n + 1):end] .= sqrt(2 * p.rate)
    return nothing
end

"""
    settle!(u, before, p, step)

The exact transition of the activities instead of EM's, from the same increment, in `u` after EM's step from `before`; the
positions move with three quarters of the velocity that the activities give before it and a quarter of that after it
(the torch engine's `EM` says why).
"""
function settle!(u, before, p::Particles{D, Angles}, step) where {D, Angles}
    Angles || _exact!(u, before, p, step) # of an angle that diffuses freely EM is exact
    @inbounds for i in 1:(p.n)
        ahead = (0.25 * step) * (_velocity(u, p, i) - _velocity(before, p, i))
        for k in 1:D
            u[D * (i - 1) + k] += ahead[k]
        end
    end
    return nothing
end

function _exact!(u, before, p::Particles{D}, step) where {D}
    decay = exp(-p.rate * step)
    spread = sqrt(-expm1(-2 * p.rate * step) / (2 * p.rate * step))
    @inbounds for k in (D * p.n + 1):length(u)
        noise = u[k] - (1 - p.rate * step) * before[k]
        u[k] = decay * before[k] + spread * noise
    end
    return nothing
end

"What [`settle!`](@ref) needs, or nothing where it is not wanted."
settled(_) = nothing
settled(p::Particles) = p.exact ? p : nothing
settled(b::Bound) = settled(b.p)
settled(d::VectorDrift) = settled(d.raw!)

# Many particles on a device: what one thread does for one particle, or for one coordinate. A walker's states are a column;
# the particles of all walkers are numbered through, those of the first walker first.

"""
    Swarm(T, particles, pair, external)

What kernels know of the [`Particles`](@ref) of a model, in the precision `T`: `isbits`, whatever the functions are.
"""
struct Swarm{D, Angles, T, N, P, G}
    n::Int32
    low::SVector{D, T}
    periods::SVector{D, T}
    cutoff::T
    skin::T
    trap::T
    speed::T
    rate::T
    noise::T
    exact::Bool
    numbers::SVector{N, T}
    pair::P
    external::G
end

function Swarm(::Type{T}, p::Particles{D, Angles}, pair, external) where {T, D, Angles}
    list, numbers = p.neighbours, SVector{length(p.numbers), T}(p.numbers)
    return Swarm{D, Angles, T, length(numbers), typeof(pair), typeof(external)}(
        p.n, p.low, list.periods, list.cutoff, list.skin, p.trap, p.speed, p.rate, p.noise, p.exact, numbers, pair,
        external
    )
end

"Number of a particle's walker and of the particle in it."
@inline walker_of(swarm::Swarm, p) = fldmod1(p, Int(swarm.n))

@inline place(::Swarm{D, Angles, T}, x, i, w) where {D, Angles, T} =
    SVector{D, T}(ntuple(k -> @inbounds(x[D * (i - 1) + k, w]), Val(D)))

@inline column(::Val{D}, home, p) where {D} = SVector{D}(ntuple(k -> @inbounds(home[k, p]), Val(D)))

"Coordinates of the activity of a particle."
activities(::Swarm{D, Angles}) where {D, Angles} = Angles ? 1 : D

"""
The drift of particle `p` of the states `x` into `f`. Where it has moved half the skin from where the lists were made,
`moved` is set: then what was computed may lack pairs.
"""
@inline function impel!(f, moved, x, home, table, counts, labels, swarm::Swarm{D, Angles, T}, p) where {D, Angles, T}
    w, i = walker_of(swarm, p)
    here = place(swarm, x, i, w)
    total = zero(here)
    if swarm.pair !== nothing
        away = nearest_image(here - column(Val(D), home, p), swarm.periods)
        # so written, a walker that blew up has moved
        isinf(swarm.cutoff) || sum(abs2, away) < (swarm.skin / 2)^2 || (@inbounds moved[1] = Int32(1))
        for k in 1:min(@inbounds(counts[p]), size(table, 2))
            j = @inbounds(table[p, k]) - (w - 1) * swarm.n
            d = nearest_image(here - place(swarm, x, j, w), swarm.periods)
            square = sum(abs2, d)
            square < swarm.cutoff^2 || continue
            r = sqrt(max(square, T(1.0e-30)))
            total += (T(swarm.pair(r, @inbounds(labels[i]), @inbounds(labels[j]), swarm.numbers)) / r) * d
        end
    end
    total -= swarm.trap * here
    if swarm.external !== nothing
        total += SVector{D, T}(swarm.external(_inside(swarm.low, swarm.periods, here), swarm.numbers))
    end
    total += _velocity(swarm, x, i, w)
    for k in 1:D
        @inbounds f[D * (i - 1) + k, w] = total[k]
    end
    for k in 1:activities(swarm)
        c = _activity(swarm, i, k)
        @inbounds f[c, w] = Angles ? zero(T) : -swarm.rate * x[c, w]
    end
    return nothing
end

@inline _activity(swarm::Swarm{D}, i, k) where {D} = D * swarm.n + activities(swarm) * (i - 1) + k

@inline _velocity(swarm::Swarm{D, false, T}, x, i, w) where {D, T} =
    swarm.speed * SVector{D, T}(ntuple(k -> @inbounds(x[_activity(swarm, i, k), w]), Val(D)))

@inline function _velocity(swarm::Swarm{2, true, T}, x, i, w) where {T}
    angle = @inbounds x[_activity(swarm, i, 1), w]
    return swarm.speed * SVector{2, T}(Elementary.nancos(angle), Elementary.nansin(angle))
end

"`sqrt(2 D)` of coordinate `c`."
@inline _strength(swarm::Swarm{D, Angles, T}, c) where {D, Angles, T} =
    sqrt(2 * (c <= D * swarm.n ? swarm.noise : swarm.rate))

"""
The step of EM of particle `p`, from its drift `f`; with the exact transition of its activity where the particles ask for
it (see [`settle!`](@ref)).
"""
@inline function em!(y, x, f, swarm::Swarm{D, Angles, T}, h::T, stream::Stream{T}, top, p) where {D, Angles, T}
    w, i = walker_of(swarm, p)
    kick(c) = _strength(swarm, c) * sqrt(h) * _pair(stream, top, WHOLE, c)[1]
    for k in 1:activities(swarm)
        c = _activity(swarm, i, k)
        @inbounds y[c, w] = if swarm.exact && !Angles
            decay = exp(-swarm.rate * h)
            spread = sqrt(-expm1(-2 * swarm.rate * h) / (2 * swarm.rate * h))
            decay * x[c, w] + spread * kick(c)
        else
            x[c, w] + h * f[c, w] + kick(c)
        end
    end
    ahead = zero(SVector{D, T})
    if swarm.exact
        ahead = (h / 4) * (_velocity(swarm, y, i, w) - _velocity(swarm, x, i, w))
    end
    for k in 1:D
        c = D * (i - 1) + k
        @inbounds y[c, w] = x[c, w] + h * f[c, w] + kick(c) + ahead[k]
    end
    return nothing
end

"""
`x + h sum_k a_k f_k + a kick + a lean` in coordinate `c` of walker `w`: the stages and the step of SOSRA, where `kick` is
the noise of the step and `lean` what its stages see of it.
"""
@inline function blend!(y, x, f, a, noise, swarm, h::T, stream::Stream{T}, top, c, w) where {T}
    z, strength = _pair(stream, top, WHOLE, c), _strength(swarm, c) * sqrt(h)
    kick, lean = strength * z[1], strength * (z[1] / 2 + z[2] / sqrt(T(12)))
    drift = @inbounds _weighted(a[1], f[1][c, w]) + _weighted(a[2], f[2][c, w]) + _weighted(a[3], f[3][c, w])
    @inbounds y[c, w] = x[c, w] + h * drift + noise[1] * kick + noise[2] * lean
    return nothing
end

# a stage that is not there yet may hold anything
@inline _weighted(a, f) = iszero(a) ? zero(f) : a * f

"What [`blend!`](@ref) takes for both stages and for the step of SOSRA: weights of the drifts, of kick and lean."
sosra_stages(::Type{T}) where {T} = (
    (T.((SOSRA_A[1], 0, 0)), T.((0, SOSRA_B[1]))),
    (T.((SOSRA_A[2], SOSRA_A[3], 0)), T.((0, SOSRA_B[2]))),
    (T.(SOSRA_ALPHA), T.((1, 0))),
)

"Coordinate `c` of walker `w` back inside the box where it is periodic."
@inline function turn!(x, low, high, kinds, c, w)
    @inbounds if kinds[c] == PERIODIC
        x[c, w] = _turned(x[c, w], low[c], high[c], low[c], high[c])
    end
    return nothing
end

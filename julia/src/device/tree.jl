# A walker's Brownian path as a function of its number: the time between two of its coarsest steps is a binary tree, and an
# interval of the tree is split by the law of the path within it, given what is known of it. A step that is rejected is
# tried again as two halves of the same path, so that rejection does not select noise, and steps of any size meet the
# same path.

"The random numbers of one walker."
struct Stream{T}
    key::NTuple{2, UInt32}
    walker::UInt32
end

Stream{T}(seed::UInt64, walker::Integer) where {T} = Stream{T}((seed % UInt32, (seed >> 32) % UInt32), walker % UInt32)

# node 0 draws an interval as a whole, node k splits the interval k of the heap that the tree is
const WHOLE = 0x00000000

@inline function _pair(stream::Stream{T}, top::UInt32, node::UInt32, axis::Int) where {T}
    return normals(T, philox((node, top, axis % UInt32, stream.walker), stream.key))
end

"""
Increment `w` of the path over an interval and its area `b = (1/h) int (W(s) - W(0)) ds - w / 2`, for each axis. They are
independent normal numbers of variance `h` and `h / 12`.
"""
struct Increment{D, T}
    w::SVector{D, T}
    b::SVector{D, T}
end

"The increment over the interval number `top` of the coarsest, of length `h`."
@inline function draw(stream::Stream{T}, ::Val{D}, top::UInt32, h::T) where {D, T}
    z = ntuple(axis -> _pair(stream, top, WHOLE, axis), Val(D))
    return Increment(
        sqrt(h) * SVector{D, T}(ntuple(axis -> z[axis][1], Val(D))),
        sqrt(h / 12) * SVector{D, T}(ntuple(axis -> z[axis][2], Val(D)))
    )
end

"""
    split(stream, top, node, h, whole)

The increments over the halves of interval `node`, of length `h`, whose increment is `whole` (Foster, Lyons & Oberhauser
2020, theorem 3.5, with areas in the place of their polynomials).
"""
@inline function Base.split(stream::Stream{T}, top::UInt32, node::UInt32, h::T, whole::Increment{D, T}) where {D, T}
    draws = ntuple(axis -> _pair(stream, top, node, axis), Val(D))
    z = sqrt(h / 16) * SVector{D, T}(ntuple(axis -> draws[axis][1], Val(D)))
    n = sqrt(h / 12) * SVector{D, T}(ntuple(axis -> draws[axis][2], Val(D)))
    turn, own = T(1.5) * whole.b + z, whole.b / 4 - z / 2
    return Increment(whole.w / 2 + turn, own + n / 2), Increment(whole.w / 2 - turn, own - n / 2)
end

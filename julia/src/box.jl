# The domain: which side of which coordinate reflects, wraps round or is open, and the records of reflections.

const OPEN, REFLECT, PERIODIC = 0, 1, 2

"""
    Box(low, high, kinds, linear = nothing)

An axis-aligned box, cut by [`LinearWalls`](@ref) where there are any; `kinds` says for each coordinate `OPEN`, `REFLECT`
or `PERIODIC`. `V` is `SVector` for states that are static and `Vector` for others. An infinite corner stands for "no wall
here", so that one formula serves all kinds.
"""
struct Box{V, L}
    low::V
    high::V
    wall_low::V
    wall_high::V
    seam_low::V
    seam_high::V
    walled::Bool
    wrapped::Bool
    linear::L
end

function Box(low::V, high::V, kinds, linear = nothing) where {V}
    pick(kind, corner, otherwise) = V(ifelse.(kinds .== kind, corner, otherwise))
    corners = (pick(REFLECT, low, -Inf), pick(REFLECT, high, Inf), pick(PERIODIC, low, -Inf), pick(PERIODIC, high, Inf))
    walled = REFLECT in kinds || linear !== nothing
    return Box{V, typeof(linear)}(low, high, corners..., walled, PERIODIC in kinds, linear)
end

bounded(box::Box) = box.walled | box.wrapped

@inline function _turned(y, low, high, seam_low, seam_high)
    inside = seam_low <= y < seam_high
    return inside ? y : y - (high - low) * floor((y - low) / (high - low))
end

# the triangular wave of period twice the width; what lies inside is returned bit for bit
@inline function _folded(y, low, high, wall_low, wall_high)
    wall_low <= y <= wall_high && return y
    reach, period = y - low, 2 * (high - low)
    return low + abs(reach - period * round(reach / period))
end

"The point of the domain nearest to `y`: stages of a step may reach beyond a wall, where a drift need not be defined."
@inline nearest(box::Box{V, Nothing}, y) where {V} = _clamped(box, y)
@inline nearest(box::Box, y) = projected(box.linear, _clamped(box, y), x -> _clamped(box, x))

@inline function _clamped(box::Box, y)
    x = box.walled ? clamp.(y, box.wall_low, box.wall_high) : y
    return box.wrapped ? _turned.(x, box.low, box.high, box.seam_low, box.seam_high) : x
end

"`y` folded at the walls, however far it went, and wrapped round the periodic sides."
@inline restore(box::Box{V, Nothing}, y) where {V} = _restored(box, y)
@inline restore(box::Box, y) = bounced(box.linear, _restored(box, y), x -> _restored(box, x))

# the same for the sides of the box alone
@inline function _restored(box::Box, y)
    x = box.walled ? _folded.(y, box.low, box.high, box.wall_low, box.wall_high) : y
    return box.wrapped ? _turned.(x, box.low, box.high, box.seam_low, box.seam_high) : x
end

"As [`restore`](@ref), in place: long states are not copied."
function restore!(y, box::Box)
    @inbounds for i in eachindex(y)
        x = box.walled ? _folded(y[i], box.low[i], box.high[i], box.wall_low[i], box.wall_high[i]) : y[i]
        y[i] = box.wrapped ? _turned(x, box.low[i], box.high[i], box.seam_low[i], box.seam_high[i]) : x
    end
    box.linear === nothing || copyto!(y, bounced(box.linear, y, x -> _restored(box, x)))
    return y
end

"Whether `y` is beyond a wall or a seam, so that `restore` would move it."
@inline function outside(box::Box, y)
    out = false
    @inbounds for i in eachindex(y)
        box.walled && (out |= !(box.wall_low[i] <= y[i] <= box.wall_high[i]))
        box.wrapped && (out |= !(box.seam_low[i] <= y[i] < box.seam_high[i]))
    end
    box.linear === nothing || (out |= first(furthest(box.linear, y)) > 0)
    return out
end

"""
Records of reflections, one entry per fold; `face` is twice the axis (from zero), plus one at the high wall, and after
those of all axes the number of a linear wall (from zero); `position` the point on the wall; `displacement` twice the
overshoot, summed where a step bounces to and fro.
"""
struct Folds
    walker::Vector{Int64}
    face::Vector{Int64}
    position::Vector{Float64}
    displacement::Vector{Float64}
end

Folds() = Folds(Int64[], Int64[], Float64[], Float64[])
Base.length(folds::Folds) = length(folds.walker)

"Forget the records after the first `n`: their walker has failed."
function truncate!(folds::Folds, n::Int, dim::Int)
    resize!(folds.walker, n)
    resize!(folds.face, n)
    resize!(folds.position, n * dim)
    resize!(folds.displacement, n)
    return folds
end

"Record the folds of the point `y` of `walker`, one for each wall it is beyond; of what is not finite, none."
function record!(folds::Folds, box::Box, y, walker::Integer)
    isfinite(sum(y)) || return nothing
    function fold(y)
        x = _restored(box, y)
        _record_sides!(folds, box, y, x, walker)
        return x
    end
    function mirrored(k, y, overshoot)
        foot = nearest(box, y - overshoot * box.linear.normals[k])
        _record!(folds, walker, 2 * length(y) + k - 1, foot, 2 * overshoot)
        return nothing
    end
    x = fold(y)
    box.linear === nothing || bounced(box.linear, x, fold, mirrored)
    return nothing
end

# at the sides of the box, of the point `y` that ends up at `x`
function _record_sides!(folds, box, y, x, walker)
    for axis in eachindex(y)
        side = y[axis] > box.wall_high[axis]
        (side || y[axis] < box.wall_low[axis]) || continue
        corner = side ? box.high[axis] : box.low[axis]
        position = nearest(box, _with(nearest(box, x), axis, corner))
        overshoot, width = abs(y[axis] - corner), box.high[axis] - box.low[axis]
        _record!(folds, walker, 2 * (axis - 1) + side, position, _displacement(overshoot, width))
    end
    return nothing
end

function _record!(folds, walker, face, position, displacement)
    push!(folds.walker, walker)
    push!(folds.face, face)
    append!(folds.position, position)
    push!(folds.displacement, displacement)
    return nothing
end

_with(x::StaticArray, axis, value) = setindex(x, value, axis)
_with(x::Vector, axis, value) = (y = copy(x); y[axis] = value; y)

# after a bounce, what is left of an overshoot beyond the opposite wall is the overshoot less a width
function _displacement(overshoot, width)
    total = zero(overshoot)
    while overshoot > 0
        total += 2 * overshoot
        overshoot -= width
    end
    return total
end

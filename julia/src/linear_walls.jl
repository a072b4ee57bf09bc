# Linear walls: mirroring at them, and the nearest point within them.

"Mirrorings of one step; what a sharp corner leaves after so many is moved to the nearest point within."
const BOUNCES = 64

"Feet of perpendiculars tried in turn; two meet the common case of one wall and the sides of the box."
const FEET = 4

"""
    LinearWalls(normals, offsets, inner)

The walls `normals[k]' x <= offsets[k]`, the normals of length 1; `inner` is a point well within all of them.
"""
struct LinearWalls{V}
    normals::Vector{V}
    offsets::Vector{Float64}
    inner::V
    depths::Vector{Float64}
end

LinearWalls(normals::Vector{V}, offsets, inner::V) where {V} =
    LinearWalls{V}(normals, offsets, inner, [b - n' * inner for (n, b) in zip(normals, offsets)])

"How far `y` is beyond the wall it is furthest beyond, negative within all, and which that is."
@inline function furthest(walls::LinearWalls, y)
    most, which = walls.normals[1]' * y - walls.offsets[1], 1
    for k in 2:length(walls.offsets)
        beyond = walls.normals[k]' * y - walls.offsets[k]
        beyond > most && ((most, which) = (beyond, k))
    end
    return most, which
end

"""
    bounced(walls, y, fold, note)

`y` mirrored at the wall it is furthest beyond and folded by `fold`, in turn until it is within. `note(k, y, overshoot)` is
told of each mirroring, with the point before.
"""
function bounced(walls::LinearWalls, y, fold, note = Returns(nothing))
    for _ in 1:BOUNCES
        overshoot, k = furthest(walls, y)
        overshoot > 0 || return y
        note(k, y, overshoot)
        y = fold(y - 2 * overshoot * walls.normals[k])
    end
    return projected(walls, y, identity)
end

"""
    projected(walls, y, fold)

`y` moved within: behind one wall alone to the nearest point. The feet of perpendiculars in turn, `fold` keeping them in
the box; what a corner still leaves beyond a wall is drawn towards the inner point until it is within all of them.
"""
function projected(walls::LinearWalls, y, fold)
    for _ in 1:FEET
        overshoot, k = furthest(walls, y)
        overshoot > 0 || return y
        y = fold(y - overshoot * walls.normals[k])
    end
    share = zero(eltype(y))
    for k in eachindex(walls.offsets)
        excess = max(walls.normals[k]' * y - walls.offsets[k], 0)
        share = max(share, excess / (excess + walls.depths[k]))
    end
    return y + share * (walls.inner - y)
end

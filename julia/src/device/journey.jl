# One walker of a kernel: from its start through the burn-in to the last snapshot, with steps of its own.

"The finest step is the coarsest divided by two to this power."
const DEEPEST = 24

const WELL, BLOWN, STUCK, ENDLESS = Int32(0), Int32(1), Int32(2), Int32(3)
const FATES = Dict(BLOWN => "not finite", STUCK => "no step is small enough", ENDLESS => "MaxIters")

# A step is halved where its error is above the tolerance and doubled where it is below this share of it: the error of
# twice the step is about four times as large, and an estimate is itself a random number.
const EASY = 0.15

"""
What all walkers of a kernel share. `counts` and `lengths` are the number of coarsest steps and their length, in both
parts of the burn-in and between two snapshots; `level` is how often these are halved for the first step, or with `adaptive = false`
for every step; `roof` how many records of reflections a walker has room for; `noise` a vector or a matrix.
"""
struct Itinerary{D, T, G}
    counts::NTuple{3, Int32}
    lengths::NTuple{3, T}
    snapshots::Int32
    adaptive::Bool
    level::Int32
    maxsteps::Int64
    roof::Int32
    tolerance::SVector{D, T}
    noise::G
end

"""
Arrays in which walkers report, the walker's number last: accepted steps by level and phase, rejected steps, what became
of it, when and where, and its reflections, which are counted even where there is no room for them.
"""
logbook(allocate, ::Type{T}, D, n, roof) where {T} = (
    accepted = allocate(Int32, (DEEPEST + 1, 3, n)),
    rejected = allocate(Int32, (n,)),
    fate = allocate(Int32, (n,)),
    time = allocate(Float64, (n,)),
    last = allocate(T, (D, n)),
    folds = allocate(Int32, (n,)),
    face = allocate(Int32, (roof, n)),
    position = allocate(T, (D, roof, n)),
    displacement = allocate(T, (roof, n)),
)

"""
    journey!(out, log, x, w, f, box, itinerary, stream)

Carry the walker in column `w`, which starts at `x`, and write its snapshots and its report.
"""
@inline function journey!(out, log, x::SVector{D, T}, w, f, box, itinerary::Itinerary{D, T}, stream) where {D, T}
    # of every interval that has been split the right half waits here, one to a level
    waiting_w, waiting_b = MMatrix{D, DEEPEST, T}(undef), MMatrix{D, DEEPEST, T}(undef)
    wanted, top, steps, folds = itinerary.level, 0x00000000, Int64(0), Int32(0)
    time, fate = 0.0, WELL
    for goal in Int32(-1):itinerary.snapshots
        phase = goal < 0 ? 1 : goal == 0 ? 2 : 3
        coarsest = itinerary.lengths[phase]
        for _ in 1:itinerary.counts[phase]
            top += 0x00000001
            level, node = Int32(0), 0x00000001
            now = draw(stream, Val(D), top, coarsest)
            under_way = true
            while under_way
                h = ldexp(coarsest, -level)
                while level < wanted
                    now, later = split(stream, top, node, h, now)
                    level, node, h = level + Int32(1), node << 1, h / 2
                    _wait!(waiting_w, waiting_b, level, later)
                end
                kick = _push(itinerary.noise, now.w)
                y, error = sosra(f, x, h, kick, kick / 2 + _push(itinerary.noise, now.b))
                ratio = maximum(abs.(error) ./ itinerary.tolerance)
                finite = isfinite(sum(y))
                steps += 1
                if itinerary.adaptive && !(finite & (ratio <= 1))
                    @inbounds log.rejected[w] += Int32(1)
                    fate = level == DEEPEST ? STUCK : steps > itinerary.maxsteps ? ENDLESS : WELL
                    wanted = level + Int32(1)
                else
                    @inbounds log.accepted[level + 1, phase, w] += Int32(1)
                    fate = finite ? steps > itinerary.maxsteps ? ENDLESS : WELL : BLOWN
                    if fate == WELL
                        phase == 3 && box.walled && (folds = _record!(log, folds, itinerary.roof, box, y, w))
                        x, time = restore(box, y), time + h
                        if itinerary.adaptive
                            wanted = ratio < EASY && level > 0 ? level - Int32(1) : level
                        end
                        # on to what waits at this level or, where this was a right half, at one above
                        while level > 0 && isodd(node)
                            level, node = level - Int32(1), node >> 1
                        end
                        under_way = level > 0
                        if under_way
                            node += 0x00000001
                            now = _waiting(waiting_w, waiting_b, level)
                        end
                    end
                end
                fate == WELL || break
            end
            fate == WELL || break
        end
        fate == WELL || break
        goal > 0 && _keep!(view(out, :, :, w), goal, x)
    end
    @inbounds log.fate[w], log.time[w], log.folds[w] = fate, time, folds
    for axis in 1:D
        @inbounds log.last[axis, w] = x[axis]
    end
    return nothing
end

@inline _push(noise::SVector, w) = noise .* w
@inline _push(noise::SMatrix, w) = noise * w

@inline function _wait!(waiting_w, waiting_b, level, later::Increment{D}) where {D}
    for axis in 1:D
        @inbounds waiting_w[axis, level] = later.w[axis]
        @inbounds waiting_b[axis, level] = later.b[axis]
    end
    return nothing
end

@inline function _waiting(waiting_w::MMatrix{D, L, T}, waiting_b, level) where {D, L, T}
    return Increment(
        SVector{D, T}(ntuple(axis -> @inbounds(waiting_w[axis, level]), Val(D))),
        SVector{D, T}(ntuple(axis -> @inbounds(waiting_b[axis, level]), Val(D)))
    )
end

# as `record!`, into arrays of a fixed size
@inline function _record!(log, folds, roof, box, y::SVector{D}, w) where {D}
    outside(box, y) || return folds
    x = nearest(box, restore(box, y))
    for axis in 1:D
        side = y[axis] > box.wall_high[axis]
        (side || y[axis] < box.wall_low[axis]) || continue
        folds += Int32(1)
        folds <= roof || continue
        corner = side ? box.high[axis] : box.low[axis]
        @inbounds log.face[folds, w] = Int32(2 * (axis - 1) + side)
        @inbounds log.displacement[folds, w] = _displacement(abs(y[axis] - corner), box.high[axis] - box.low[axis])
        for k in 1:D
            @inbounds log.position[k, folds, w] = k == axis ? corner : x[k]
        end
    end
    return folds
end

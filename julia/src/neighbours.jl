# Neighbour lists that are kept while particles move little (Verlet, Phys. Rev. 159, 98, 1967).

"The skin as a share of the cutoff: wider lists last longer and cost more a step."
const SKIN = 0.2
"Up to so many particles comparing all with all is faster than cells."
const FEW_PARTICLES = 48
"Cells for each particle at the most: far apart particles would have more empty ones than fit into memory."
const ROOM = 8

"""
    Neighbours{D}(n, periods, cutoff)

For each of `n` particles in `D` dimensions all others nearer than the cutoff and a skin. `periods` are those of the box,
`Inf` where it is open; an infinite cutoff lists everybody. [`follow!`](@ref) renews the lists as soon as a particle has
moved half the skin, so that no pair within the cutoff is ever missing.
"""
mutable struct Neighbours{D}
    const periods::SVector{D, Float64}
    const cutoff::Float64
    const skin::Float64
    const home::Vector{SVector{D, Float64}}
    const first::Vector{Int} # of particle i: other[first[i]:(first[i + 1] - 1)]
    const other::Vector{Int32}
    const sorted::Vector{Int32} # particles by cell
    const cell::Vector{Int}
    const held::Vector{Int}
    known::Bool
end

function Neighbours{D}(n::Int, periods, cutoff) where {D}
    room = minimum(periods) / 2 - cutoff
    skin = isfinite(cutoff) ? min(SKIN * cutoff, room) : 0.0
    return Neighbours{D}(
        periods, cutoff, skin, Vector{SVector{D, Float64}}(undef, n), zeros(Int, n + 1), Int32[], zeros(Int32, n),
        zeros(Int, n), Int[], false
    )
end

"A difference of coordinates to the nearest image."
@inline nearest_image(d, periods) = d - ifelse.(isfinite.(periods), periods .* round.(d ./ periods), zero(periods))

"Forget the lists, which depend on when they were made: the next walker's sums must not depend on the last one's."
restart!(list::Neighbours) = (list.known = false; nothing)

"Make the lists hold for the positions `at(i)`, values without derivatives."
function follow!(list::Neighbours{D}, at) where {D}
    if !(list.known && (isinf(list.cutoff) || !_moved(list, at)))
        n = length(list.home)
        for i in 1:n
            x = at(i)
            # a walker that blew up is found by the loop; its particles must not break the search
            list.home[i] = ifelse.(isfinite.(x), x, zero(x))
        end
        counts = cells(last(_extent(list)), (list.cutoff + list.skin) * (1 + 1.0e-9), n)
        if isinf(list.cutoff) || n <= FEW_PARTICLES || any(isfinite.(list.periods) .& (counts .< 3))
            _compare_all!(list)
        else
            _by_cells!(list, counts)
        end
        list.known = true
    end
    return list
end

function _moved(list::Neighbours, at)
    limit, most = (list.skin / 2)^2, 0.0
    @inbounds for i in eachindex(list.home)
        most = max(most, sum(abs2, nearest_image(at(i) - list.home[i], list.periods)))
    end
    return !(most < limit)
end

function _compare_all!(list::Neighbours)
    reach = (list.cutoff + list.skin)^2
    empty!(list.other)
    list.first[1] = 1
    for i in eachindex(list.home)
        for j in eachindex(list.home)
            i != j && sum(abs2, nearest_image(list.home[i] - list.home[j], list.periods)) < reach && push!(list.other, j)
        end
        list.first[i + 1] = length(list.other) + 1
    end
    return nothing
end

"""
    cells(width, reach, n)

Cells along each axis, none narrower than `reach`, no more than there are particles along a line, and not many more than
there are particles in all.
"""
function cells(width::SVector{D}, reach, n) where {D}
    counts = SVector{D, Int}(ntuple(k -> max(1, floor(Int, min(width[k] / reach, n))), Val(D)))
    while prod(counts) > ROOM * n
        counts = Base.setindex(counts, (maximum(counts) + 1) ÷ 2, argmax(counts))
    end
    return counts
end

function _extent(list::Neighbours{D}) where {D}
    low, high = reduce((a, x) -> min.(a, x), list.home), reduce((a, x) -> max.(a, x), list.home)
    open = isinf.(list.periods)
    return ifelse.(open, low, zero(low)), ifelse.(open, high - low, list.periods)
end

function _by_cells!(list::Neighbours{D}, counts::SVector{D, Int}) where {D}
    low, width = _extent(list)
    scale, open = counts ./ max.(width, floatmin()), isinf.(list.periods)
    place(x) = map(floor.((x - low) .* scale), counts, open) do y, n, isopen
        isopen ? clamp(unsafe_trunc(Int, y), 0, n - 1) : mod(unsafe_trunc(Int, y), n)
    end
    ravel(c) = 1 + foldr((k, index) -> c[k] + counts[k] * index, 1:D; init = 0)
    # particles sorted by cell: those of cell c are sorted[held[c]:(held[c + 1] - 1)]
    held = resize!(list.held, prod(counts) + 1)
    fill!(held, 0)
    for i in eachindex(list.home)
        list.cell[i] = ravel(place(list.home[i]))
        held[list.cell[i] + 1] += 1
    end
    held[1] = 1
    accumulate!(+, held, held)
    for i in reverse(eachindex(list.home))
        held[list.cell[i] + 1] -= 1
        list.sorted[held[list.cell[i] + 1]] = i
    end
    # counting down has moved each entry to the beginning of its own cell
    popfirst!(held)
    push!(held, length(list.home) + 1)
    reach = (list.cutoff + list.skin)^2
    empty!(list.other)
    list.first[1] = 1
    stencil = CartesianIndices(ntuple(_ -> -1:1, Val(D)))
    for i in eachindex(list.home)
        x = list.home[i]
        home = place(x)
        for offset in stencil
            c = home + SVector{D, Int}(Tuple(offset))
            inside = all((0 .<= c) .& (c .< counts) .| .!open)
            inside || continue
            index = ravel(ifelse.(open, c, mod.(c, counts)))
            @inbounds for k in held[index]:(held[index + 1] - 1)
                j = list.sorted[k]
                i != j && sum(abs2, nearest_image(x - list.home[j], list.periods)) < reach && push!(list.other, j)
            end
        end
        list.first[i + 1] = length(list.other) + 1
    end
    return nothing
end

# Neighbour lists on a device: what one thread does for one particle. Particles are sorted by cell and number, so that lists
# have one order whatever the threads do.

"""
    Grid(home, low, periods, reach, n)

Cells for the positions `home: (D, particles)`, none narrower than `reach` and not many more than the `n` particles of a
walker; each walker has cells of its own.
"""
struct Grid{D, T}
    counts::SVector{D, Int64}
    low::SVector{D, T}
    scale::SVector{D, T}
    open::SVector{D, Bool}
    reach::T
end

function Grid(home::AbstractMatrix{T}, low::SVector{D, T}, periods::SVector{D, T}, reach::T, n) where {D, T}
    open = isinf.(periods)
    # positions are inside the box where it is periodic; of a walker that blew up there are none
    least = SVector{D, T}(vec(Array(minimum(x -> ifelse(isfinite(x), x, T(Inf)), home; dims = 2))))
    most = SVector{D, T}(vec(Array(maximum(x -> ifelse(isfinite(x), x, T(-Inf)), home; dims = 2))))
    low, width = ifelse.(open, least, low), ifelse.(open, max.(most - least, zero(T)), periods)
    # a little wider than they need be: rounding may put a particle beside its cell
    counts = cells(width, T(1.001) * reach, n)
    return Grid{D, T}(counts, low, counts ./ max.(width, floatmin(T)), open, reach)
end

Base.length(grid::Grid) = prod(grid.counts)

@inline _cell(grid::Grid, x) = map(floor.((x - grid.low) .* grid.scale), grid.counts, grid.open) do y, count, open
    c = unsafe_trunc(Int64, y)
    return open ? clamp(c, zero(c), count - one(c)) : mod(c, count)
end

@inline function _ravel(grid::Grid{D}, c) where {D}
    index = Int64(0)
    for k in D:-1:1
        index = c[k] + grid.counts[k] * index
    end
    return index
end

"""
Remember where particle `p` is. A walker that blew up is found by the loop; its particles are nowhere, and nobody's
neighbours: in one place they would fill the lists.
"""
@inline function settle_home!(home, x, swarm::Swarm{D, Angles, T}, p) where {D, Angles, T}
    w, i = walker_of(swarm, p)
    here = place(swarm, x, i, w)
    here = all(isfinite, here) ? _inside(swarm.low, swarm.periods, here) : SVector{D, T}(ntuple(_ -> T(NaN), Val(D)))
    for k in 1:D
        @inbounds home[k, p] = here[k]
    end
    return nothing
end

"Cell and number of particle `p` as one number: sorted, particles of a cell stand together, in their order."
@inline function enter!(keys, home, grid::Grid{D}, swarm, p) where {D}
    w, _ = walker_of(swarm, p)
    cell = (w - 1) * length(grid) + _ravel(grid, _cell(grid, column(Val(D), home, p)))
    @inbounds keys[p] = cell * Int64(size(home, 2)) + (p - 1)
    return nothing
end

"Where the particles of each cell begin and end among the sorted `keys`; entry `q` knows of its own cell."
@inline function bound!(first, last, keys, q)
    total = Int64(length(keys))
    own = @inbounds keys[q] ÷ total
    q == 1 || @inbounds(keys[q - 1] ÷ total) == own || (@inbounds first[own + 1] = q)
    q == 1 && (@inbounds first[own + 1] = q)
    q == total && (@inbounds last[own + 1] = q)
    q == total || @inbounds(keys[q + 1] ÷ total) == own || (@inbounds last[own + 1] = q)
    return nothing
end

"""
List the particles nearer to particle `p` than the grid's reach in row `p` of `table`, as far as there is room, and count
them all.
"""
@inline function list!(table, counts, home, keys, first, last, grid::Grid{D, T}, swarm, p) where {D, T}
    total, room = Int64(length(keys)), size(table, 2)
    w, _ = walker_of(swarm, p)
    x, found = column(Val(D), home, p), Int32(0)
    own = _cell(grid, x)
    for m in 0:(3^D - 1)
        step = SVector{D, Int64}(ntuple(k -> (m ÷ 3^(k - 1)) % 3 - 1, Val(D)))
        c = own + step
        # with fewer than three cells around, some of the steps lead to the same one
        _visited(grid, step, c) || continue
        index = (w - 1) * length(grid) + _ravel(grid, mod.(c, grid.counts)) + 1
        for q in @inbounds(first[index]):@inbounds(last[index])
            j = @inbounds(keys[q] % total) + 1
            d = nearest_image(x - column(Val(D), home, j), swarm.periods)
            j != p && sum(abs2, d) < grid.reach^2 || continue
            found += Int32(1)
            found <= room && (@inbounds table[p, found] = j)
        end
    end
    @inbounds counts[p] = found
    return nothing
end

@inline _visited(grid::Grid, step, c) = all(
    ifelse.(grid.open, (0 .<= c) .& (c .< grid.counts), step .+ 1 .< min.(grid.counts, 3))
)

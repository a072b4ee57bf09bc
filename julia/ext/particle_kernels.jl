# Interacting particles: a thread to each of them, all walkers of a block at once.

@kernel function settle_kernel!(home, @Const(x), swarm)
    p = @index(Global, Linear)
    PyNESS.settle_home!(home, x, swarm, p)
end

@kernel function enter_kernel!(keys, @Const(home), grid, swarm)
    p = @index(Global, Linear)
    PyNESS.enter!(keys, home, grid, swarm, p)
end

@kernel function bound_kernel!(first, last, @Const(keys))
    q = @index(Global, Linear)
    PyNESS.bound!(first, last, keys, q)
end

@kernel function list_kernel!(table, counts, @Const(home), @Const(keys), @Const(first), @Const(last), grid, swarm)
    p = @index(Global, Linear)
    PyNESS.list!(table, counts, home, keys, first, last, grid, swarm, p)
end

@kernel function impel_kernel!(f, moved, @Const(x), @Const(home), @Const(table), @Const(counts), @Const(labels), swarm)
    p = @index(Global, Linear)
    PyNESS.impel!(f, moved, x, home, table, counts, labels, swarm, p)
end

@kernel function em_kernel!(y, @Const(x), @Const(f), swarm::Swarm{D, Angles, T}, h, seed, first, top) where {D, Angles, T}
    p = @index(Global, Linear)
    PyNESS.em!(y, x, f, swarm, h, Stream{T}(seed, first + PyNESS.walker_of(swarm, p)[1] - 1), top, p)
end

@kernel function blend_kernel!(y, @Const(x), f, a, noise, swarm, h::T, seed, first, top) where {T}
    c, w = @index(Global, NTuple)
    PyNESS.blend!(y, x, f, a, noise, swarm, h, Stream{T}(seed, first + w - 1), top, c, w)
end

@kernel function turn_kernel!(x, @Const(low), @Const(high), @Const(kinds))
    c, w = @index(Global, NTuple)
    PyNESS.turn!(x, low, high, kinds, c, w)
end

"Neighbours that a list has room for to begin with."
const ROOM = 32
"Steps between looks for walkers that blew up and at what the call may still take."
const LOOK = 32
"Threads of a workgroup."
const GROUP = 64

"What is kept of a block while it runs, all on the device but for the counts."
mutable struct Crowd{T, S, D, M, I, K, F}
    const device::D
    const swarm::S
    const labels::I
    const home::M
    const keys::K
    const counts::I
    const moved::I
    const drifts::F
    table::Any
    first::I
    last::I
    listed::Bool
    evaluations::Int
end

function Crowd(device, swarm::Swarm{D, Angles, T}, species, walkers, dim) where {D, Angles, T}
    n = Int(swarm.n) * walkers
    blank(S, dims...) = fill!(allocate(device, S, dims), zero(S))
    labels, home, keys = copyto!(blank(Int32, Int(swarm.n)), species), blank(T, D, n), blank(Int64, n)
    drifts = ntuple(_ -> blank(T, dim, walkers), STAGES)
    return Crowd{T, typeof(swarm), typeof(device), typeof(home), typeof(labels), typeof(keys), typeof(drifts)}(
        device, swarm, labels, home, keys, blank(Int32, n), blank(Int32, 1), drifts,
        _table(device, n, min(ROOM, swarm.n - 1)), blank(Int32, 1), blank(Int32, 1), false, 0
    )
end

function _table(device, n, room)
    return try
        allocate(device, Int32, (n, Int(max(room, 1))))
    catch error
        # CUDA has an error of its own for it
        occursin("OutOf", string(nameof(typeof(error)))) || rethrow()
        throw(ArgumentError("no memory for lists of $room neighbours of $n particles: they have collapsed or are started so"))
    end
end

"List the neighbours of all particles at the positions in `x`, with room for the longest list there is."
function list!(crowd::Crowd{T}, x) where {T}
    (; device, swarm, home, keys, counts) = crowd
    n = length(keys)
    settle_kernel!(device, GROUP)(home, x, swarm; ndrange = n)
    synchronize(device)
    grid = Grid(home, swarm.low, swarm.periods, swarm.cutoff + swarm.skin, Int(swarm.n))
    enter_kernel!(device, GROUP)(keys, home, grid, swarm; ndrange = n)
    synchronize(device)
    sort!(keys)
    cells = length(grid) * (n ÷ Int(swarm.n))
    if length(crowd.first) < cells
        crowd.first, crowd.last = allocate(device, Int32, (cells,)), allocate(device, Int32, (cells,))
    end
    # of an empty cell the end is before the beginning
    fill!(crowd.first, one(Int32))
    fill!(crowd.last, zero(Int32))
    bound_kernel!(device, GROUP)(crowd.first, crowd.last, keys; ndrange = n)
    while true
        list_kernel!(device, GROUP)(
            crowd.table, counts, home, keys, crowd.first, crowd.last, grid, swarm; ndrange = n
        )
        synchronize(device)
        longest = Int(maximum(counts))
        longest <= size(crowd.table, 2) && break
        crowd.table = _table(device, n, min(Int(swarm.n) - 1, longest + longest ÷ 4))
    end
    crowd.listed = true
    return nothing
end

"The drift at `x` into the `k`-th of the crowd's arrays, computed again with new lists where the old ones did not hold."
function impel!(crowd::Crowd, k, x)
    (; device, swarm, moved) = crowd
    interact = swarm.pair !== nothing
    interact && !crowd.listed && list!(crowd, x)
    for renewed in (false, true)
        fill!(moved, zero(Int32))
        impel_kernel!(device, GROUP)(
            crowd.drifts[k], moved, x, crowd.home, crowd.table, crowd.counts, crowd.labels, swarm;
            ndrange = length(crowd.keys)
        )
        interact || break
        synchronize(device)
        (renewed || iszero(Array(moved)[1])) && break
        list!(crowd, x)
    end
    crowd.evaluations += 1
    return nothing
end

"A step from `x`, with `y` for what comes up on the way; the new state is the first of what is returned, the old the other."
function advance!(::StochasticDiffEq.EM, crowd, x, y, h, seed, first, top)
    impel!(crowd, 1, x)
    em_kernel!(crowd.device, GROUP)(
        y, x, crowd.drifts[1], crowd.swarm, h, seed, first, top; ndrange = length(crowd.keys)
    )
    return y, x
end

function advance!(::StochasticDiffEq.SOSRA, crowd, x, y, h::T, seed, first, top) where {T}
    for (k, (a, noise)) in enumerate(PyNESS.sosra_stages(T))
        impel!(crowd, k, k == 1 ? x : y)
        blend_kernel!(crowd.device, GROUP)(
            y, x, crowd.drifts, a, noise, crowd.swarm, h, seed, first, top; ndrange = size(x)
        )
    end
    return y, x
end

advance!(algorithm, rest...) = throw(ArgumentError("particles on a device: EM or SOSRA, not $(nameof(typeof(algorithm)))"))

function PyNESS.sample_particles!(
        out::AbstractArray{T, 3}, start, name, algorithm, drift_parameters::Particles, noise_parameters;
        device, low, high, kinds, seed, first = 0, burn_in, spacing, adaptive, dt, burn_in_dt = dt,
        seconds = Inf, most = Inf, ignored...
    ) where {T}
    adaptive && throw(ArgumentError("particles on a device take a fixed step"))
    model = MODELS[name]
    dim, snapshots, walkers = size(out)
    swarm = Swarm(T, drift_parameters, model.room.pair, model.room.external)
    crowd = Crowd(device, swarm, drift_parameters.species, walkers, dim)
    place(values, S) = copyto!(allocate(device, S, size(values)), S.(values))
    box = (place(low, T), place(high, T), place(kinds, Int32))
    x = place(start, T)
    y, origin, before = copy(x), copy(x), copy(x)
    tally, failures, alive = Tally(), Tuple{Int, Float64, Vector{Float64}, String}[], trues(walkers)
    time, top, cut, stop = 0.0, 0x00000000, false, deadline(seconds)
    for (goal, steps, step) in legs(burn_in, burn_in_dt, snapshots, spacing, dt)
        for taken in 0:LOOK:(steps - 1)
            cut = walkers * crowd.evaluations > most || time_ns() > stop
            cut && break
            copyto!(before, x)
            for _ in 1:min(LOOK, steps - taken)
                top += 0x00000001
                x, y = advance!(algorithm, crowd, x, y, T(step), UInt64(seed), first, top)
                turn_kernel!(device, GROUP)(x, box...; ndrange = size(x))
            end
            synchronize(device)
            for w in findall(!, vec(Array(all(isfinite, x; dims = 1))))
                if alive[w]
                    alive[w] = false
                    state = Float64.(Array(view(before, :, w)))
                    push!(failures, (first + w - 1, time + taken * step, state, "not finite"))
                end
                # somewhere it does not disturb the lists of the others
                view(x, :, w) .= view(origin, :, w)
            end
        end
        cut && break
        tally.accepted += steps * walkers
        tally.shortest, tally.longest = min(tally.shortest, step), max(tally.longest, step)
        count_length!(tally, step, steps * walkers)
        time += steps * step
        goal > 0 && (view(out, :, goal, :) .= x)
    end
    for w in findall(!, alive)
        fill!(view(out, :, :, w), NaN)
    end
    PyNESS.LAST_FOLDS[] = Folds()
    return (
        accepted = tally.accepted, rejected = 0, evaluations = walkers * crowd.evaluations, shortest = tally.shortest,
        longest = tally.longest, histogram = tally.histogram, folds = 0, failures, cut
    )
end

# Particles on a device: the kernels' lists and drifts beside the loops of the other engine, steps, failures.

using PyNESS: Particles, Swarm, particle_drift!, restart!
using StaticArrays

const KERNELS = Base.get_extension(PyNESS, :PyNESSKernelAbstractionsExt)

particles_of(n, periods, cutoff; angles = false, noise = 0.1, exact = false, numbers = [5.0], species = "") = Particles(
    n, [-1.0, 0.0, 2.0][1:length(periods)], periods, cutoff;
    trap = 0.2, speed = 0.3, rate = 0.5, noise, angles, exact, species, numbers
)

spring(r, a, b, p) = p[1] * (1 - r) * (1 + a + 2b)
field(x, p) = sin.(x)

crowded(p, walkers, T = Float64; pair = spring, external = field) = KERNELS.Crowd(
    CPU_DEVICE, Swarm(T, p, pair, external), p.species, walkers,
    length(p.neighbours.periods) * p.n + (p isa Particles{2, true} ? p.n : length(p.neighbours.periods) * p.n)
)

@testset "drifts are those of the loops: $(length(periods)) dimensions, $n" for (n, periods, cutoff, angles, spread) in (
        (200, [8.0, 9.5], 1.0, false, 8.0), (40, [8.0, 8.0], 1.0, true, 8.0), (200, [5.0, Inf], 0.9, false, 6.0),
        (300, [5.0, 6.0, 7.0], 1.3, false, 5.0), (150, [Inf, Inf], 1.0, true, 9.0), (120, [40.0], 0.7, false, 40.0),
        (100, [2.5, 9.0], 1.0, false, 9.0), (90, [2.0, 2.1], 1.0, false, 2.0), # too narrow for three cells
        (12, [Inf, Inf], Inf, false, 2.0), (80, [1.0e6, Inf], 1.0, false, 3.0),
        (150, [9.0, 9.0], 1.0, false, 1.0), # all in one place: lists longer than there is room for at first
    )
    D, rng, walkers = length(periods), Xoshiro(1), 3
    p = particles_of(n, periods, cutoff; angles, species = join(rand(rng, 0:1, n), " "))
    dim = D * n + (angles ? n : D * n)
    x = randn(rng, dim, walkers)
    x[1:(D * n), :] .= repeat([-1.0, 0.0, 2.0][1:D], n) .+ rand(rng, D * n, walkers) .* repeat(min.(periods, spread), n)
    crowd, expected = crowded(p, walkers), zeros(dim)
    for moved in 1:6
        KERNELS.impel!(crowd, 1, x)
        for w in 1:walkers
            restart!(p)
            particle_drift!(expected, x[:, w], p, spring, field)
            @test crowd.drifts[1][:, w] ≈ expected rtol = 1.0e-11
        end
        # by little, then by more than the skin allows, then round the box
        x[1:(D * n), :] .+= (moved == 3 ? 0.2 * min(cutoff, 1.0) : moved == 5 ? 1.3 : 0.01) * randn(rng, D * n, walkers)
    end
    single = crowded(p, walkers, Float32)
    KERNELS.impel!(single, 1, Float32.(x))
    @test eltype(single.drifts[1]) == Float32
    @test single.drifts[1][:, walkers] ≈ (restart!(p); particle_drift!(expected, x[:, walkers], p, spring, field); expected) rtol = 1.0e-3
end

SWARM = """
using PyNESS: particle_drift!, particle_noise!
const pair = (r, a, b, p) -> p[1] * (1 - r)
const external = nothing
drift!(du, u, p, t) = particle_drift!(du, u, p, pair, external)
noise!(du, u, p, t) = particle_noise!(du, p)
"""
PyNESS.define("swarm", SWARM, 120, false, true)

function swarm(method, walkers; p, T = Float64, snapshots = 2, spread = 6.0, broken = 0, plan...)
    n = p.n
    low, high = [fill(0.0, 2n); fill(-3.0, 2n)], [fill(6.0, 2n); fill(3.0, 2n)]
    start = reduce(hcat, [T[spread * rand(Xoshiro(w), 2n); randn(Xoshiro(w), 2n)] for w in 1:walkers])
    broken > 0 && (start[2n + 1, broken] = Inf)
    out = fill(T(99), 4n, snapshots, walkers)
    report = PyNESS.sample_particles!(
        out, start, "swarm", algorithm(method), p, p;
        device = CPU_DEVICE, low, high, kinds = [fill(2, 2n); fill(0, 2n)], seed = 7, adaptive = false, dt = 0.01,
        burn_in = 1.0, spacing = 0.5, tolerance = fill(0.01, 4n), plan...
    )
    return out, report
end

in_box(n = 30; plan...) = Particles(
    n, [0.0, 0.0], [6.0, 6.0], 1.0;
    trap = 0.0, speed = 0.3, rate = 0.5, noise = 0.1, angles = false, exact = false, species = "", numbers = [5.0], plan...
)

@testset "steps: $method" for (method, stages) in (("EM", 1), ("SOSRA", 3))
    out, report = swarm(method, 5; p = in_box())
    @test isempty(report.failures) && !report.cut
    @test report.accepted == 5 * 200 && report.evaluations == 5 * 200 * stages
    @test all(0 .<= out[1:60, :, :] .<= 6) && allunique(out)
    @test first(swarm(method, 5; p = in_box())) == out
    @test !any(in(out), first(swarm(method, 5; p = in_box(), seed = 8)))
    # a walker's path does not depend on who else is in the block, but for the order of sums
    alone, together = (first(swarm(method, walkers; p = in_box(), burn_in = 0.0)) for walkers in (1, 5))
    @test alone[:, :, 1] ≈ together[:, :, 1] rtol = 1.0e-9
    @test last(swarm(method, 5; p = in_box(), most = 300.0)).cut
    @test last(swarm(method, 5; p = in_box(), seconds = 0.0)).cut
    @test !last(swarm(method, 5; p = in_box(), seconds = 1.0e12)).cut
    single, report = swarm(method, 5; p = in_box(), T = Float32)
    @test isempty(report.failures) && all(0 .<= single[1:60, :, :] .<= 6)
end

@testset "activities make their exact transition" begin
    p = in_box(; exact = true, numbers = [0.0])
    out, _ = swarm("EM", 300; p, dt = 3.0, burn_in = 6.0, spacing = 3.0)
    g = out[61:120, :, :]
    n = length(g) / 2
    @test abs(sum(abs2, g) / (2n) - 1) < 4 * sqrt(2 / n)
    @test abs(sum(g[:, 1, :] .* g[:, 2, :]) / n - exp(-1.5)) < 4 * sqrt(1.2 / n)
end

@testset "a walker that blows up is reported and leaves the others alone" begin
    whole, _ = swarm("EM", 4; p = in_box())
    out, report = swarm("EM", 4; p = in_box(), broken = 3)
    @test [walker for (walker, _, _, _) in report.failures] == [2]
    _, time, state, reason = report.failures[1]
    @test time == 0 && reason == "not finite"
    @test all(isnan, out[:, :, 3])
    @test out[:, :, [1, 2, 4]] ≈ whole[:, :, [1, 2, 4]] rtol = 1.0e-6
end

@testset "particles of a walker that blew up are nobody's neighbours: $periods" for periods in ([9.0, 8.0], [9.0, Inf])
    p, rng = particles_of(200, periods, 1.0), Xoshiro(2)
    crowd, x = crowded(p, 3), 8 * rand(rng, 800, 3)
    x[1:400, 2] .= NaN
    x[1, 3] = Inf
    KERNELS.impel!(crowd, 1, x)
    @test size(crowd.table, 2) == KERNELS.ROOM
    @test all(iszero, crowd.counts[201:400]) && iszero(crowd.counts[401])
    @test crowd.drifts[1][:, 1] ≈ (restart!(p); y = zeros(800); particle_drift!(y, x[:, 1], p, spring, field); y) rtol = 1.0e-11
    KERNELS.impel!(crowd, 1, fill(NaN, 800, 3))
    @test all(iszero, crowd.counts)
end

@testset "what particles on a device do not have" begin
    @test_throws "fixed step" swarm("SOSRA", 2; p = in_box(), adaptive = true)
    @test_throws "EM or SOSRA, not SOSRI" swarm("SOSRI", 2; p = in_box())
end

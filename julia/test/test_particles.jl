using PyNESS: Neighbours, Particles, follow!, nearest_image, own, particle_drift!, restart!
using StaticArrays

# what the lists must give: every pair compared
function every_pair(x, periods, cutoff)
    close(i, j) = i != j && sum(abs2, nearest_image(x[i] - x[j], periods)) < cutoff^2
    return [Set(j for j in eachindex(x) if close(i, j)) for i in eachindex(x)]
end

listed(list, x) = [
    Set(
        Int(j) for j in list.other[list.first[i]:(list.first[i + 1] - 1)]
        if sum(abs2, nearest_image(x[i] - x[j], list.periods)) < list.cutoff^2
    ) for i in eachindex(x)
]

@testset "neighbours along a path: $(length(periods)) dimensions, $n" for (n, periods, cutoff) in (
        (200, SVector(8.0, 9.5), 1.0), (40, SVector(8.0, 8.0), 1.0), (200, SVector(5.0, Inf), 0.9),
        (300, SVector(5.0, 6.0, 7.0), 1.3), (150, SVector(Inf, Inf), 1.0), (120, SVector(40.0), 0.7),
        (100, SVector(2.5, 9.0), 1.0), # too narrow for three cells
    )
    D, rng = length(periods), Xoshiro(1)
    x = [SVector{D}(rand(rng, D) .* min.(periods, 6.0)) for _ in 1:n]
    list = Neighbours{D}(n, periods, cutoff)
    renewed = 0
    for _ in 1:60
        x .+= [0.02 * SVector{D}(randn(rng, D)) for _ in 1:n]
        before = copy(list.home)
        follow!(list, i -> x[i])
        renewed += list.home != before
        @test listed(list, x) == every_pair(x, periods, cutoff)
    end
    @test 1 < renewed < 50
end

@testset "particles far apart take no more cells than fit into memory: $periods" for periods in (
        SVector(Inf, Inf, Inf), SVector(1.0e7, 1.0e7, 1.0e7), SVector(Inf, 1.0e7, 20.0),
    )
    n, rng = 2000, Xoshiro(3)
    x = [1.0e6 * rand(rng, SVector{3, Float64}) .* min.(periods, 1.0e3) ./ 1.0e3 for _ in 1:n]
    x[2] = x[1] .+ 0.1
    list = follow!(Neighbours{3}(n, periods, 1.0), i -> x[i])
    @test length(list.held) <= 8n + 1
    @test listed(list, x) == every_pair(x, periods, 1.0)
    @test 2 in listed(list, x)[1]
end

repulsion(r, a, b, p) = p[1] * (1 - r)

@testset "forces balance, do not depend on the threads, and follow the lists" begin
    n, rng = 300, Xoshiro(2)
    p = Particles(
        n, [0.0, 0.0], [9.0, 9.0], 1.0;
        trap = 0.0, speed = 0.3, rate = 0.5, noise = 0.1, angles = false, exact = false, species = "", numbers = [5.0]
    )
    u = [9 * rand(rng, 2n); randn(rng, 2n)]
    du, again = similar(u), similar(u)
    particle_drift!(du, u, p, repulsion, nothing)
    @test du[(2n + 1):end] == -0.5 * u[(2n + 1):end]
    force = reshape(du[1:(2n)] - 0.3 * u[(2n + 1):end], 2, :)
    @test maximum(abs, sum(force; dims = 2)) < 1.0e-10 * maximum(abs, force)
    particle_drift!(again, u, own(p, 3), repulsion, nothing)
    @test again == du
    # at rest after a move within the skin: other lists, the same forces but for the order of sums
    u[1:(2n)] .+= 0.05
    particle_drift!(du, u, p, repulsion, nothing)
    restart!(p)
    particle_drift!(again, u, p, repulsion, nothing)
    @test again ≈ du rtol = 1.0e-12
end

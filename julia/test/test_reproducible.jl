SOLVERS = ("EM", "SOSRA", "SOSRI", "LambaEM", "SKenCarp", "ImplicitEM", "DRI1")

@testset "$solver, adaptive = $adaptive" for (solver, adaptive) in
    [[(solver, false) for solver in (SOLVERS..., "SROCK1")]; [(solver, true) for solver in SOLVERS[2:end]]]
    together, report = sample_ou(solver, 12; adaptive)
    @test isempty(report.failures)
    @test all(isfinite, together)
    # a walker alone, whoever ran before it in this thread, has the same bits
    for w in (12, 1, 7)
        out, start = zeros(2, 3, 1), zeros(2, 1)
        sample!(
            out, start, "ou", algorithm(solver), OU_PARAMETERS...;
            low = [-3.0, -3.0], high = [3.0, 3.0], kinds = [0, 0], seed = 1, first = w - 1, burn_in = 5.0, spacing = 1.0,
            adaptive, dt = 0.05, tolerance = [1.0e-2, 1.0e-2]
        )
        @test out[:, :, 1] == together[:, :, w]
    end
    @test allunique(together)
    again, _ = sample_ou(solver, 12; adaptive)
    @test again == together
    other, _ = sample_ou(solver, 12; adaptive, seed = 2)
    @test isempty(intersect(other, together))
end

@testset "counts" begin
    _, report = sample_ou("EM", 10)
    @test (report.accepted, report.rejected, report.evaluations) == (10 * 160, 0, 10 * 160)
    @test report.shortest ≈ report.longest ≈ 0.05
    _, report = sample_ou("EM", 10; dt = 0.03, burn_in_dt = 0.2) # 25 steps of 0.198, 2 of 0.025, 3 x 34 of 1 / 34
    @test report.accepted == 10 * (25 + 2 + 3 * 34)
    @test report.shortest ≈ 0.025 && report.longest ≈ 0.198
    _, report = sample_ou("SOSRA", 10; adaptive = true)
    @test report.rejected > 0
    @test sum(report.histogram) == report.accepted
    @test report.evaluations >= 3 * (report.accepted + report.rejected)
    @test 0 < report.shortest < report.longest <= 1
end

@testset "walls" begin
    walls = (low = [-0.5, -0.5], high = [0.5, 0.5], kinds = [1, 1])
    out, report = sample_ou("EM", 8; walls...)
    @test all(-0.5 .<= out .<= 0.5)
    @test report.folds > 0
    walker, face = zeros(Int, report.folds), zeros(Int, report.folds)
    position, displacement = zeros(2, report.folds), zeros(report.folds)
    folds!(walker, face, position, displacement)
    @test issorted(walker) && extrema(walker) == (0, 7)
    @test Set(face) == Set(0:3)
    @test all(displacement .> 0)
    for (f, x) in zip(face, eachcol(position))
        @test x[f ÷ 2 + 1] == (f % 2 == 1 ? 0.5 : -0.5)
        @test all(abs.(x) .<= 0.5)
    end
    adaptive, report = sample_ou("SOSRA", 8; adaptive = true, walls...)
    @test all(-0.5 .<= adaptive .<= 0.5) && report.folds > 0
    round, _ = sample_ou("EM", 8; low = [-0.5, -0.5], high = [0.5, 0.5], kinds = [2, 0])
    @test all(-0.5 .<= round[1, :, :] .< 0.5) && maximum(abs, round[2, :, :]) > 0.5
end

@testset "single precision output holds the same walkers" begin
    out = zeros(Float32, 2, 3, 4)
    sample!(
        out, zeros(Float32, 2, 4), "ou", algorithm("EM"), OU_PARAMETERS...;
        low = [-3.0, -3.0], high = [3.0, 3.0], kinds = [0, 0], seed = 1, burn_in = 5.0, spacing = 1.0,
        adaptive = false, dt = 0.05, tolerance = [1.0e-2, 1.0e-2]
    )
    @test out == Float32.(sample_ou("EM", 4)[1])
end

@testset "seeds of walkers" begin
    seeds = [PyNESS.seed_of(seed, walker) for seed in 0:99, walker in 0:999]
    @test allunique(seeds)
    @test !any(iszero, seeds)
end

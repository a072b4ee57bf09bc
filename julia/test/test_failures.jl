define("explosive", """
drift!(du, u, p, t) = (du[1] = u[1] > p[1] ? u[1]^3 : -u[1]; nothing)
noise!(du, u, p, t) = (du[1] = p[1]; nothing)
""", 1, false, true)

function explode(solver; plan...)
    out, start = zeros(1, 2, 6), [0.0 9.0 0.0 9.0 0.0 0.0]
    settings = (;
        low = [-1.0], high = [1.0], kinds = [0], seed = 3, burn_in = 1.0, spacing = 1.0, adaptive = false, dt = 1.0e-3,
        tolerance = [1.0e-3], plan...
    )
    return out, sample!(out, start, "explosive", algorithm(solver), [5.0], [0.1]; settings...)
end

@testset "$solver" for (solver, plan, reason) in (
        ("EM", (;), "not finite"), ("SOSRA", (adaptive = true,), nothing), ("ImplicitEM", (adaptive = true,), nothing),
    )
    out, report = explode(solver; plan...)
    @test [f[1] for f in report.failures] == [1, 3]
    @test all(isnan, out[:, :, [2, 4]])
    @test all(isfinite, out[:, :, [1, 3, 5, 6]])
    for (_, time, state, why) in report.failures
        @test 0 < time < 1
        @test all(isfinite, state)
        @test reason === nothing || why == reason
    end
end

@testset "too many steps" begin
    _, report = explode("SOSRA"; adaptive = true, maxiters = 5)
    @test length(report.failures) == 6
    @test all(f -> f[4] == "MaxIters", report.failures)
end

@testset "cut short: $solver" for (solver, plan) in (("EM", (;)), ("SOSRA", (adaptive = true,)))
    for limit in ((most = 10,), (seconds = 0.0,))
        _, report = explode(solver; plan..., limit...)
        @test report.cut
        @test isempty(report.failures)
    end
    @test !explode(solver; plan..., most = 1.0e9, seconds = 1.0e9)[2].cut
end

@testset "folds of a failed walker are forgotten" begin
    walls = (low = [-0.1], high = [1.0], kinds = [1])
    _, report = explode("EM"; walls..., burn_in = 0.0)
    walker, face = zeros(Int, report.folds), zeros(Int, report.folds)
    folds!(walker, face, zeros(1, report.folds), zeros(report.folds))
    @test isempty(intersect(walker, [f[1] for f in report.failures]))
end

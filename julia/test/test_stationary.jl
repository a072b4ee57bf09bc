using Statistics

# The stationary variance is 1/2 in each coordinate. Snapshots a few relaxation times apart are nearly independent; the
# standard error is taken over walkers, which are.
@testset "$solver, adaptive = $adaptive" for (solver, adaptive, plan) in (
        ("EM", false, (dt = 0.005,)), ("SOSRA", false, (dt = 0.05,)), ("SOSRA", true, (;)), ("SKenCarp", false, (dt = 0.05,)),
    )
    out, _ = sample_ou(solver, 2000; snapshots = 5, spacing = 2.0, adaptive, plan...)
    squares = vec(mean(out .^ 2; dims = (1, 2)))
    @test abs(mean(squares) - 0.5) < 4 * std(squares) / sqrt(length(squares))
end

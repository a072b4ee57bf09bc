using LinearAlgebra, Statistics

# Noise with covariance [1 0.4; 0.4 0.8] per unit time on a drift with different rates, rotated to be diagonal.
define("turned", """
drift!(du, u, p, t) = (du[1] = -u[1] + p[1] * u[2]; du[2] = -2 * u[2]; nothing)
noise!(du, u, p, t) = (du .= p; nothing)
""", 2, false, true)

covariance = [1.0 0.4; 0.4 0.8]
values, Q = eigen(Symmetric(covariance))
A = [1.0 -0.3; 0.0 2.0]
stationary = reshape((kron(I(2), A) + kron(A, I(2))) \ vec(covariance), 2, 2)

@testset "$solver, adaptive = $adaptive, inplace = $inplace" for (solver, adaptive, inplace) in (
        ("SOSRA", true, false), ("SOSRA", true, true), ("EM", false, false), ("SRA3", false, true), ("ImplicitEM", false, false),
    )
    walkers = 4000
    out = zeros(2, 3, walkers)
    sample!(
        out, zeros(2, walkers), "turned", algorithm(solver), [0.3], sqrt.(values);
        low = [-3.0, -3.0], high = [3.0, 3.0], kinds = [0, 0], seed = 5, burn_in = 6.0, spacing = 3.0, adaptive,
        dt = 0.005, tolerance = [1.0e-2, 1.0e-2], rotation = Q, inplace
    )
    for i in 1:2, j in 1:2
        products = vec(mean(out[i, :, :] .* out[j, :, :]; dims = 1))
        @test abs(mean(products) - stationary[i, j]) < 4 * std(products) / sqrt(walkers)
    end
end

@testset "periodic sides are those of x" begin
    out = zeros(2, 3, 20)
    sample!(
        out, zeros(2, 20), "turned", algorithm("EM"), [0.3], sqrt.(values);
        low = [-0.4, -3.0], high = [0.4, 3.0], kinds = [2, 0], seed = 5, burn_in = 1.0, spacing = 1.0, adaptive = false,
        dt = 0.01, tolerance = [1.0e-2, 1.0e-2], rotation = Q
    )
    @test all(-0.4 .<= out[1, :, :] .<= 0.4) && maximum(abs, out[2, :, :]) > 0.4
end

using DiffEqGPU, KernelAbstractions, Statistics
using PyNESS: Particles, Stream, draw, normals, philox
using StaticArrays

in_plane(n) = Particles(
    n, [0.0, 0.0], [6.0, 6.0], 1.0;
    trap = 0.0, speed = 0.3, rate = 0.5, noise = 0.1, angles = false, exact = false, species = "", numbers = [5.0]
)

@testset "philox" begin
    # the known answers that Random123 is distributed with
    zero4, ones4 = ntuple(_ -> 0x00000000, 4), ntuple(_ -> 0xffffffff, 4)
    @test philox(zero4, zero4[1:2]) == (0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8)
    @test philox(ones4, ones4[1:2]) == (0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd)
    pi4, key = (0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344), (0xa4093822, 0x299f31d0)
    @test philox(pi4, key) == (0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1)
    for T in (Float32, Float64)
        z = [x for k in 1:50_000 for x in normals(T, philox((UInt32(k), zero4[2:4]...), (0x00000001, 0x00000002)))]
        @test abs(mean(z)) < 4 / sqrt(length(z))
        @test abs(mean(abs2, z) - 1) < 4 * sqrt(2 / length(z))
        @test abs(mean(z .^ 4) - 3) < 4 * sqrt(96 / length(z))
        @test abs(cor(z[1:2:end], z[2:2:end])) < 4 / sqrt(length(z) / 2)
    end
end

@testset "kernels compute in the precision of the states: $T" for T in (Float32, Float64)
    drift = PyNESS.portable(T, PyNESS.MODELS["ou"].drift, OU_PARAMETERS[1])
    @test drift(SVector{2, T}(1, 2)) isa SVector{2, T}
    swarm = PyNESS.Swarm(T, in_plane(10), (r, a, b, p) -> p[1] * (1 - r), nothing)
    @test isbits(swarm) && swarm.pair(one(T), Int32(0), Int32(0), swarm.numbers) isa T
end

@testset "splitting keeps the path and its law" begin
    h, n = 0.7, 40_000
    rows = map(1:n) do walker
        stream = Stream{Float64}(UInt64(9), walker)
        whole = draw(stream, Val(1), 0x00000001, h)
        left, right = split(stream, 0x00000001, 0x00000001, h, whole)
        @assert left.w + right.w ≈ whole.w
        # int over the whole = int over the halves, the right one starting from the left's end
        @assert h * (whole.w / 2 + whole.b) ≈ h / 2 * (left.w / 2 + left.b) + h / 2 * (left.w + right.w / 2 + right.b)
        return [left.w[1], left.b[1], right.w[1], right.b[1]]
    end
    samples = reduce(hcat, rows)
    expected = [h / 2, h / 24, h / 2, h / 24]
    for i in 1:4, j in 1:4
        value = i == j ? expected[i] : 0.0
        error = sqrt((1 + (i == j)) * expected[i] * expected[j] / n)
        @test abs(mean(samples[i, :] .* samples[j, :]) - value) < 4.5 * error
    end
end

const CPU_DEVICE = PyNESS.backend("cpu")

function on_cpu(sample!, walkers; T = Float64, snapshots = 3, model = "ou", parameters = OU_PARAMETERS, method = nothing, plan...)
    dim = PyNESS.MODELS[model].dim
    out, start = fill(T(99), dim, snapshots, walkers), zeros(T, dim, walkers)
    settings = (;
        device = CPU_DEVICE, low = fill(-3.0, dim), high = fill(3.0, dim), kinds = fill(0, dim), seed = 1, burn_in = 5.0,
        spacing = 1.0, adaptive = true, dt = 0.05, tolerance = fill(1.0e-2, dim), plan...
    )
    report = sample!(out, start, model, method, parameters...; settings...)
    return out, report
end

kernel(walkers; plan...) = on_cpu(PyNESS.sample_kernel!, walkers; plan...)
ensemble(walkers; method = DiffEqGPU.GPUEM(), plan...) = on_cpu(PyNESS.sample_ensemble!, walkers; method, adaptive = false, plan...)
lockstep(walkers; plan...) = on_cpu(PyNESS.sample_lockstep!, walkers; method = algorithm("SOSRI"), plan...)

@testset "distinct walkers, same seed same bits: $name" for (name, carry) in
    (("kernel", kernel), ("kernel at a fixed step", (n; plan...) -> kernel(n; adaptive = false, plan...)), ("ensemble", ensemble), ("lockstep", lockstep))
    together, report = carry(12)
    @test isempty(report.failures)
    @test all(isfinite, together)
    @test allunique(together)
    @test carry(12)[1] == together
    @test isempty(intersect(carry(12; seed = 2)[1], together))
    if name != "lockstep"
        @test carry(3; first = 4)[1] == together[:, :, 5:7]
    end
end

@testset "stationary covariance: $name" for (name, carry, plan, bias) in (
        ("kernel", kernel, (;), 0.0),
        ("kernel, single precision", kernel, (; T = Float32), 0.0),
        ("kernel, fixed step", kernel, (; adaptive = false, dt = 0.05), 0.0),
        # EM's variance is 1 / (2 - dt) and not a half
        ("GPUEM", ensemble, (; dt = 0.01), 1 / 1.99 - 0.5),
        ("GPUSIEA", ensemble, (; method = DiffEqGPU.GPUSIEA(), dt = 0.05), 0.0),
        ("lockstep", lockstep, (;), 0.0),
    )
    out, report = carry(2000; snapshots = 5, spacing = 2.0, plan...)
    @test isempty(report.failures)
    for axis in 1:2
        squares = vec(mean(out[axis, :, :] .^ 2; dims = 1))
        @test abs(mean(squares) - 0.5 - bias) < 4 * std(squares) / sqrt(length(squares))
    end
    products = vec(mean(out[1, :, :] .* out[2, :, :]; dims = 1))
    @test abs(mean(products)) < 4 * std(products) / sqrt(length(products))
end

@testset "strong order 1.5, on one path" begin
    PyNESS.define(
        "pendulum", """
        drift!(du, u, p, t) = (du[1] = u[2]; du[2] = -sin(u[1]) - p[1] * u[2]; nothing)
        drift(u, p, t) = SVector{2}(u[2], -sin(u[1]) - p[1] * u[2])
        noise!(du, u, p, t) = (du[1] = p[1]; du[2] = p[1]; nothing)
        noise(u, p, t) = SVector{2}(p[1], p[1])
        """, 2, false, true
    )
    run(level) = kernel(
        400; model = "pendulum", parameters = ([0.5], [0.5]), adaptive = false, burn_in = 0.0, snapshots = 1, spacing = 1.0, level
    )[1]
    reference = run(11)
    errors = [sqrt(mean(abs2, run(level) .- reference)) for level in 2:6]
    order = (log2(errors[1]) - log2(errors[end])) / (length(errors) - 1)
    @test order > 1.35
    adaptive, report = kernel(
        400; model = "pendulum", parameters = ([0.5], [0.5]), burn_in = 0.0, snapshots = 1, spacing = 1.0,
        tolerance = fill(1.0e-3, 2)
    )
    @test sqrt(mean(abs2, adaptive .- reference)) < 1.0e-2
    @test report.rejected > 0
end

@testset "rejection does not select noise" begin
    # a first step and a tolerance that make most first tries fail
    out, report = kernel(4000; snapshots = 2, spacing = 2.0, dt = 2.0, tolerance = fill(3.0e-4, 2))
    @test report.rejected > report.accepted / 10
    squares = vec(mean(out .^ 2; dims = (1, 2)))
    @test abs(mean(squares) - 0.5) < 4 * std(squares) / sqrt(length(squares))
end

@testset "counts" begin
    _, report = kernel(10; adaptive = false, dt = 0.03, burn_in_dt = 0.2)
    @test report.accepted == 10 * (25 + 2 + 3 * 34) && report.rejected == 0
    @test report.shortest ≈ 0.025 && report.longest ≈ 0.198
    _, report = kernel(10)
    @test sum(report.histogram) == report.accepted
    @test report.evaluations == 3 * (report.accepted + report.rejected)
    _, report = ensemble(10; dt = 0.03, burn_in_dt = 0.2)
    @test report.accepted == report.evaluations == 10 * (25 + 2 + 3 * 34)
end

@testset "walls" begin
    walls = (low = [-0.5, -0.5], high = [0.5, 0.5], kinds = [1, 1])
    out, report = kernel(40; walls...)
    @test all(-0.5 .<= out .<= 0.5)
    walker, face = zeros(Int, report.folds), zeros(Int, report.folds)
    position, displacement = zeros(2, report.folds), zeros(report.folds)
    folds!(walker, face, position, displacement)
    @test issorted(walker) && extrema(walker) == (0, 39)
    @test maximum(w -> count(==(w), walker), 0:39) > 16 # a first launch has no room for that many
    @test Set(face) == Set(0:3)
    @test all(displacement .> 0)
    for (f, x) in zip(face, eachcol(position))
        @test x[f ÷ 2 + 1] == (f % 2 == 1 ? 0.5 : -0.5)
        @test all(abs.(x) .<= 0.5)
    end
    # uniform noise against a linear drift between walls: the law of the square, exact by quadrature
    grid = range(-0.5, 0.5; length = 10_001)
    exact = sum(x -> x^2 * exp(-x^2), grid) / sum(x -> exp(-x^2), grid)
    out, _ = kernel(4000; walls..., snapshots = 2, burn_in = 1.0, dtmax = 1 / 1024)
    squares = vec(mean(out .^ 2; dims = (1, 2)))
    @test abs(mean(squares) - exact) < 4 * std(squares) / sqrt(length(squares))
    round, _ = kernel(8; low = [-0.5, -0.5], high = [0.5, 0.5], kinds = [2, 0])
    @test all(-0.5 .<= round[1, :, :] .< 0.5) && maximum(abs, round[2, :, :]) > 0.5
    round, _ = ensemble(8; low = [-0.5, -0.5], high = [0.5, 0.5], kinds = [2, 0])
    @test all(-0.5 .<= round[1, :, :] .< 0.5) && maximum(abs, round[2, :, :]) > 0.5
    @test_throws "know no walls" ensemble(8; walls...)
end

@testset "failures" begin
    PyNESS.define("runaway", "drift!(du, u, p, t) = (du[1] = u[1]^3; nothing)\nnoise!(du, u, p, t) = (du[1] = 1.0; nothing)", 1, false, true)
    for (carry, plan) in ((kernel, (;)), (kernel, (; adaptive = false)), (ensemble, (;)))
        out, report = carry(6; model = "runaway", parameters = (Float64[], Float64[]), burn_in = 20.0, plan...)
        @test length(report.failures) == 6
        @test all(isnan, out)
        walker, time, state, reason = report.failures[end]
        @test walker == 5 && 0 <= time < 23 && all(isfinite, state) && reason in ("not finite", "no step is small enough")
    end
    _, report = kernel(2; maxiters = 5)
    @test [reason for (_, _, _, reason) in report.failures] == ["MaxIters", "MaxIters"]
end

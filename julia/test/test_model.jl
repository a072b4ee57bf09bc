using StaticArrays

@testset "both forms give the same" begin
    x = randn(2, 5)
    drift, noise = zeros(2, 5), zeros(2, 5)
    for static in (false, true)
        check!(drift, noise, "ou", x, OU_PARAMETERS...; static)
        @test drift ≈ [-x[1:1, :] .+ 0.5 .* x[2:2, :]; -0.5 .* x[1:1, :] .- x[2:2, :]]
        @test noise == ones(2, 5)
    end
end

@testset "static forms are derived where they are not given" begin
    define("general", """
    drift!(du, u, p, t) = (du .= -p.k .* u; nothing)
    noise!(du, u, p, t) = (du .= 0; du[1, 1] = p[1]; du[2, 1] = u[1]; du[2, 2] = p[2]; nothing)
    """, 2, true, false)
    drift, noise = zeros(2, 1), zeros(2, 2, 1)
    for static in (false, true)
        check!(drift, noise, "general", [3.0; 4.0;;], (k = 2.0,), [5.0, 6.0]; static)
        @test drift == [-6.0; -8.0;;]
        @test noise[:, :, 1] == [5.0 0.0; 3.0 6.0]
    end
end

@testset "no allocation" begin
    model = PyNESS.MODELS["ou"]
    u, du = SVector(1.0, 2.0), zeros(2)
    static(f, u, p) = @allocated f(u, p, 0.0)
    inplace(f, du, u, p) = @allocated f(du, u, p, 0.0)
    for run in 1:2 # the first compiles
        counts = (
            static(model.drift, u, OU_PARAMETERS[1]), static(model.noise, u, OU_PARAMETERS[2]),
            inplace(model.drift!, du, u, OU_PARAMETERS[1]), inplace(model.noise!, du, u, OU_PARAMETERS[2]),
        )
        run == 2 && @test counts == (0, 0, 0, 0)
    end
end

@testset "sources that define too little" begin
    @test_throws "drift!" define("empty", "1 + 1", 2, false, true)
    @test !haskey(PyNESS.MODELS, "empty")
end

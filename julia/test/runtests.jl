using PyNESS, Random, Test

include("models.jl")

@testset "PyNESS" begin
    @testset "$name" for name in ("elementary", "box", "model", "reproducible", "rotation", "particles", "failures", "stationary", "device", "swarm")
        include("test_$name.jl")
    end
end

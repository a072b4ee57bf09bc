using PyNESS: Box, Folds, nearest, outside, record!, restore
using StaticArrays

low, high = SVector(0.0, -1.0, 0.0), SVector(2.0, 1.0, 1.0)
mixed = Box(low, high, (1, 2, 0))

@testset "folding and wrapping" begin
    inside = SVector(0.1, 0.3, 7.0)
    @test restore(mixed, inside) === inside
    @test !outside(mixed, inside)
    @test restore(mixed, SVector(-0.3, 1.5, -4.0)) ≈ SVector(0.3, -0.5, -4.0)
    @test restore(mixed, SVector(2.5, -1.25, 0.0)) ≈ SVector(1.5, 0.75, 0.0)
    @test restore(mixed, SVector(6.7, 0.0, 0.0))[1] ≈ 1.3 # beyond 2, beyond 0, beyond 2 again
    @test outside(mixed, SVector(2.1, 0.0, 0.0))
    @test outside(mixed, SVector(1.0, -1.1, 0.0))
    @test nearest(mixed, SVector(2.5, 1.5, 9.0)) ≈ SVector(2.0, -0.5, 9.0)
    for x in -20.0:0.37:20.0
        y = restore(mixed, SVector(x, x, x))
        @test 0 <= y[1] <= 2 && -1 <= y[2] <= 1 && y[3] === x
    end
    vectors = Box(Vector(low), Vector(high), (1, 2, 0))
    @test restore(vectors, [-0.3, 1.5, -4.0]) ≈ [0.3, -0.5, -4.0]
end

@testset "records of folds" begin
    folds = Folds()
    record!(folds, mixed, SVector(-0.3, 1.5, -4.0), 7)
    record!(folds, mixed, SVector(2.4, 0.0, 0.5), 8)
    record!(folds, mixed, SVector(-3.0, 0.0, 0.5), 9) # overshoots by 3, then by 1 at the other wall
    @test folds.walker == [7, 8, 9]
    @test folds.face == [0, 1, 0]
    @test reshape(folds.position, 3, :) ≈ [0.0 2.0 0.0; -0.5 0.0 0.0; -4.0 0.5 0.5]
    @test folds.displacement ≈ [0.6, 0.8, 8.0]
end

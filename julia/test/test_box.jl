using PyNESS: Box, Folds, LinearWalls, nearest, outside, record!, restore
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

# x >= 0 by a side, y >= 0 and x + y <= 1 by walls
half = sqrt(0.5)
walls = LinearWalls([SVector(half, half), SVector(0.0, -1.0)], [half, 0.0], SVector(0.3, 0.3))
triangle = Box(SVector(0.0, 0.0), SVector(3.0, 3.0), (1, 0), walls)

@testset "linear walls" begin
    @test restore(triangle, SVector(0.2, 0.3)) === SVector(0.2, 0.3)
    @test !outside(triangle, SVector(0.2, 0.3))
    @test outside(triangle, SVector(0.8, 0.6))
    @test restore(triangle, SVector(0.8, 0.6)) ≈ SVector(0.4, 0.2)
    @test restore(triangle, SVector(0.4, -0.1)) ≈ SVector(0.4, 0.1)
    @test nearest(triangle, SVector(0.8, 0.6)) ≈ SVector(0.6, 0.4)
    within(x) = x[1] >= 0 && x[2] >= -1.0e-12 && x[1] + x[2] <= 1 + 1.0e-12
    for a in -5.0:0.61:5.0, b in -5.0:0.61:5.0
        @test within(restore(triangle, SVector(a, b)))
        @test within(nearest(triangle, SVector(a, b)))
    end
    vectors = LinearWalls([[half, half], [0.0, -1.0]], [half, 0.0], [0.3, 0.3])
    @test PyNESS.restore!([-0.1, 1.05], Box([0.0, 0.0], [3.0, 3.0], (1, 0), vectors)) ≈ restore(triangle, SVector(-0.1, 1.05))
    folds = Folds()
    record!(folds, triangle, SVector(0.8, 0.6), 1)
    record!(folds, triangle, SVector(-0.1, 1.05), 2) # the side to (0.1, 1.05), the wall to (-0.05, 0.9), the side again
    @test folds.walker == [1, 2, 2, 2]
    @test folds.face == [4, 0, 4, 0]
    @test folds.displacement ≈ [0.8 * half, 0.2, 0.3 * half, 0.1]
    @test folds.position[1:2] ≈ [0.6, 0.4]
end

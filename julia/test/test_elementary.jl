using PyNESS.Elementary

@testset "NaN where Base throws" begin
    for (ours, base, bad, good) in (
            (nansqrt, sqrt, -1.0, 2.0), (nanlog, log, -1.0, 2.0), (nanlog2, log2, -1.0, 2.0), (nanlog10, log10, -1.0, 2.0),
            (nanlog1p, log1p, -2.0, 2.0), (nansin, sin, Inf, 2.0), (nancos, cos, -Inf, 2.0), (nantan, tan, Inf, 2.0),
            (nanasin, asin, 2.0, 0.3), (nanacos, acos, -2.0, 0.3), (nanacosh, acosh, 0.5, 2.0), (nanatanh, atanh, 2.0, 0.3),
        )
        @test_throws DomainError base(bad)
        @test isnan(ours(bad))
        @test ours(good) === base(good)
        @test ours(Float32(good)) isa Float32
        @test isnan(ours(NaN))
    end
    @test isnan(nanpow(-1.0, 0.5))
    @test nanpow(-2.0, 3.0) === -8.0
    @test nanpow(2.0f0, 0.5f0) === 2.0f0^0.5f0
end

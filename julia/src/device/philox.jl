# Random numbers without a state: a function of a counter and a key, so that a kernel needs no memory for them and a
# number can be had again.

"""
    philox(counter, key)

Four random words: Philox4x32 with ten rounds (Salmon, Moraes, Dror & Shaw, SC 2011).
"""
@inline function philox(counter::NTuple{4, UInt32}, key::NTuple{2, UInt32})
    c, k = counter, key
    for _ in 1:10
        first, second = widemul(0xd2511f53, c[1]), widemul(0xcd9e8d57, c[3])
        c = (_high(second) ⊻ c[2] ⊻ k[1], second % UInt32, _high(first) ⊻ c[4] ⊻ k[2], first % UInt32)
        k = (k[1] + 0x9e3779b9, k[2] + 0xbb67ae85)
    end
    return c
end

@inline _high(product::UInt64) = (product >> 32) % UInt32

"Two independent normal numbers from four words (Box and Muller)."
@inline function normals(::Type{Float64}, r::NTuple{4, UInt32})
    u, v = _uniform(r[1], r[2]), _uniform(r[3], r[4])
    s, c = sincospi(2 * v)
    radius = sqrt(-2 * log(u))
    return radius * c, radius * s
end

@inline function normals(::Type{Float32}, r::NTuple{4, UInt32})
    u, v = (Float32(r[1]) + 0.5f0) * 2.0f0^-32, Float32(r[2]) * 2.0f0^-32
    s, c = sincospi(2 * v)
    radius = sqrt(-2 * log(u))
    return radius * c, radius * s
end

@inline _uniform(high, low) = (((UInt64(high) << 21) ⊻ (UInt64(low) >> 11)) + 0.5) * 2.0^-53

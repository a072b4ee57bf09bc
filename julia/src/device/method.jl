# The step of the kernel: stability-optimised stochastic Runge-Kutta for additive noise of strong order 1.5 (SOSRA,
# Rackauckas & Nie 2020, arXiv:1804.04344). For constant noise the weights of the noise sum to the plain increment, and
# stage i sees B_i I_10 / h, where I_10 / h = w / 2 + b.

const SOSRA_ALPHA = (0.2889874966892885, 0.6859880440839937, 0.025024459226717772)
const SOSRA_A = (0.6923962376159507, -3.1609142252828395, 4.1609142252828395)
const SOSRA_B = (1.3371632704399763, 1.442371048468624 + 1.8632741501139225)

"Drift evaluations of a step."
const STAGES = 3

"""
    sosra(f, x, h, kick, lean)

The state after a step and the estimate of its local error: the difference from the weights on the stages 1 and 3 that
meet the same condition on the noise, of second order in `h` both in the drift and in the noise.
"""
@inline function sosra(f, x::SVector{D, T}, h::T, kick, lean) where {D, T}
    alpha, a, b = T.(SOSRA_ALPHA), T.(SOSRA_A), T.(SOSRA_B)
    f1 = f(x)
    f2 = f(x + h * a[1] * f1 + b[1] * lean)
    f3 = f(x + h * (a[2] * f1 + a[3] * f2) + b[2] * lean)
    mean = alpha[1] * f1 + alpha[2] * f2 + alpha[3] * f3
    return x + h * mean + kick, h * (mean - (1 - 1 / b[2]) * f1 - f3 / b[2])
end

"A drift as a kernel calls it: inside the walls, in the kernel's precision."
struct Inside{F, B}
    f::F
    box::B
end

@inline (d::Inside)(x::SVector{D, T}) where {D, T} = SVector{D, T}(d.f(nearest(d.box, x)))

"""
Functions that return NaN where those of Base throw a `DomainError`: an exception in the middle of a solve would end it
for all walkers, and GPU kernels have none. Generic in the number type, dual numbers included.
"""
module Elementary

using SpecialFunctions: erf, erfc

export erf, erfc
export nanacos, nanacosh, nanasin, nanatanh, nancos, nanlog, nanlog10, nanlog1p, nanlog2, nanpow, nansin, nansqrt, nantan

@inline nan(x) = oftype(x, NaN)

@inline nansqrt(x) = x < 0 ? nan(x) : sqrt(x)
@inline nanlog(x) = x < 0 ? nan(x) : log(x)
@inline nanlog2(x) = x < 0 ? nan(x) : log2(x)
@inline nanlog10(x) = x < 0 ? nan(x) : log10(x)
@inline nanlog1p(x) = x < -1 ? nan(x) : log1p(x)
@inline nansin(x) = isinf(x) ? nan(x) : sin(x)
@inline nancos(x) = isinf(x) ? nan(x) : cos(x)
@inline nantan(x) = isinf(x) ? nan(x) : tan(x)
@inline nanasin(x) = abs(x) > 1 ? nan(x) : asin(x)
@inline nanacos(x) = abs(x) > 1 ? nan(x) : acos(x)
@inline nanacosh(x) = x < 1 ? nan(x) : acosh(x)
@inline nanatanh(x) = abs(x) > 1 ? nan(x) : atanh(x)
@inline nanpow(x, y) = x < 0 && y != round(y) ? nan(promote(x, y)[1]) : x^y

end

# CUDA as a device. It has not been run: there was no GPU where this was written.
module PyNESSCUDAExt

using CUDA: CUDA, CuArray, CuPtr, CUDABackend
using KernelAbstractions: KernelAbstractions
using PyNESS: PyNESS

function PyNESS.backend(::Val{:cuda})
    CUDA.functional() || throw(ArgumentError("no device cuda: CUDA.functional() is false here"))
    return CUDABackend()
end

PyNESS.on_device(address::UInt, ::Type{T}, dims) where {T} = unsafe_wrap(CuArray, CuPtr{T}(address), dims)

PyNESS.seed!(::CUDABackend, seed) = CUDA.seed!(seed)

end

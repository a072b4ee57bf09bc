# What is compiled when the package is, so that a first sample does not wait for it: the solvers most systems take, for
# static states of two or three coordinates with additive noise.

module Workload
drift!(du, u, p, t) = (du .= .-u; nothing)
noise!(du, u, p, t) = (du .= p[1]; nothing)
end

@setup_workload begin
    @compile_workload begin
        for dim in 2:3
            MODELS["workload"] = Model(Workload, dim, false, true)
            for solver in (StochasticDiffEq.EM(), StochasticDiffEq.SOSRA()), out in (zeros(Float32, dim, 1, 2), zeros(dim, 1, 2))
                sample!(
                    out, zeros(dim, 2), "workload", solver, Float64[], [1.0];
                    low = fill(-0.1, dim), high = fill(0.1, dim), kinds = fill(REFLECT, dim), seed = 1, burn_in = 0.1,
                    spacing = 0.1, adaptive = !(solver isa StochasticDiffEq.EM), dt = 0.05, tolerance = fill(0.01, dim),
                    lengths = solver isa StochasticDiffEq.EM ? nothing : zeros(eltype(out), 1, 2)
                )
                count = length(LAST_FOLDS[])
                folds!(zeros(Int, count), zeros(Int, count), zeros(eltype(out), dim, count), zeros(eltype(out), count))
            end
        end
        empty!(MODELS)
    end
end

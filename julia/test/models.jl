# Models the tests share, written as the translator writes them.

OU = """
function drift!(du, u, p, t)
    du[1] = -p[1] * u[1] + p[2] * u[2]
    du[2] = -p[2] * u[1] - p[1] * u[2]
    return nothing
end
drift(u, p, t) = SVector{2}(-p[1] * u[1] + p[2] * u[2], -p[2] * u[1] - p[1] * u[2])
function noise!(du, u, p, t)
    du[1] = p[1]
    du[2] = p[1]
    return nothing
end
noise(u, p, t) = SVector{2}(p[1], p[1])
"""

"Rate 1, rotation 1/2, noise sqrt(2 * 0.5): the stationary covariance is 0.5 I."
OU_PARAMETERS = ([1.0, 0.5], [1.0])

PyNESS.define("ou", OU, 2, false, true)

"Sample the model `ou` on the plane; keywords override the plan."
function sample_ou(solver, walkers; snapshots = 3, plan...)
    out = zeros(2, snapshots, walkers)
    start = zeros(2, walkers)
    settings = (;
        low = [-3.0, -3.0], high = [3.0, 3.0], kinds = [0, 0], seed = 1, burn_in = 5.0, spacing = 1.0,
        adaptive = false, dt = 0.05, tolerance = [1.0e-2, 1.0e-2], plan...
    )
    report = sample!(out, start, "ou", algorithm(solver), OU_PARAMETERS...; settings...)
    return out, report
end

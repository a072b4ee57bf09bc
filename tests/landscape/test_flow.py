"""The baseline by likelihood: derivatives, resuming, what it cannot do."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import InputError, StoreError
from pyness.landscape import flow as module
from tests.estimators.exact import gaussian_states

pytest.importorskip("zuko")

SYSTEM = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0, 0.8], [-0.6, 1.5]], D=[[0.5, 0.1], [0.1, 0.4]])
SMALL = {"method": "flow", "units": 12, "steps": 120, "seed": 3, "progress": False}


@pytest.fixture(scope="module")
def samples():
    return pyness.Samples.from_states(SYSTEM, gaussian_states(SYSTEM, 8000, 1).reshape(2000, 4, 2))


@pytest.fixture(scope="module")
def landscape(samples):
    return pyness.fit_landscape(SYSTEM, samples, **SMALL)


def test_a_gaussian(landscape):
    x = gaussian_states(SYSTEM, 10_000, 2)
    report = landscape.report(pyness.Samples.from_states(SYSTEM, x))
    assert report.gradient_error.value < 0.1
    assert abs(report.epr.value - SYSTEM.truth.epr) < 4 * report.epr.stderr
    assert report.to_dict()["method"] == "flow"
    assert report.to_dict()["laplacian"] == "exact, one backward pass to a coordinate"


def test_derivatives(landscape):
    x, step = gaussian_states(SYSTEM, 50, 3), 1e-5
    velocity, divergence = landscape.velocity_and_divergence(x)
    torch.testing.assert_close(velocity, landscape.current_velocity(x))
    numeric = 0.0
    for axis in range(2):
        e = step * torch.eye(2, dtype=torch.float64)[axis]
        change = landscape.current_velocity(x + e) - landscape.current_velocity(x - e)
        numeric = numeric + change[:, axis] / (2 * step)
    torch.testing.assert_close(divergence, numeric, rtol=1e-6, atol=1e-6)


def test_probes_have_the_mean_of_the_exact_curvature(landscape, monkeypatch):
    x = gaussian_states(SYSTEM, 4000, 4)
    exact = landscape.velocity_and_divergence(x)[1]
    monkeypatch.setattr(module, "EXACT_UP_TO", 1)
    probed = landscape.velocity_and_divergence(x)[1] - exact
    assert probed.abs().max() > 1e-3
    assert abs(probed.mean().item()) < 4 * probed.std().item() / len(x) ** 0.5
    assert landscape.network.laplacian.startswith("Hutchinson, 4 probes")


def test_probes_of_two_parts_are_independent_and_repeat(landscape, monkeypatch):
    """Else their errors would not average out, and standard errors over walkers would not hold them."""
    monkeypatch.setattr(module, "EXACT_UP_TO", 1)
    one, two = (landscape.network._directions(gaussian_states(SYSTEM, 4000, seed)) for seed in (5, 6))
    again = landscape.network._directions(gaussian_states(SYSTEM, 4000, 5))
    both = (torch.stack(one) * torch.stack(two)).mean().item()
    # the mean of so many independent signs
    assert abs(both) < 4 / (4 * 4000 * 2) ** 0.5
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))


def test_it_is_finite_far_out(landscape):
    far = torch.tensor([[15.0, 0.0], [-15.0, 9.0]], dtype=torch.float64)
    assert bool(torch.isfinite(landscape.potential(far)).all())
    assert bool(torch.isfinite(landscape.current_velocity(far)).all())


def test_files(landscape, tmp_path):
    x = gaussian_states(SYSTEM, 20, 5)
    path = tmp_path / "flow.safetensors"
    landscape.save(path)
    loaded = pyness.Landscape.load(path)
    assert torch.equal(loaded.potential(x), landscape.potential(x))
    assert torch.equal(loaded.current_velocity(x), landscape.current_velocity(x))
    path.with_suffix(".json").write_text(path.with_suffix(".json").read_text().replace('"units": 12', '"units": 13'))
    with pytest.raises(StoreError, match="damaged or no landscape"):
        pyness.Landscape.load(path)


def test_interrupted_or_not_the_bits_are_the_same(samples, landscape, tmp_path, monkeypatch):
    class Interrupted(module.tqdm):
        done = 0

        def update(self, n=1):
            self.done += n
            if self.done == 70:
                raise KeyboardInterrupt

    files = {"checkpoint": tmp_path / "checkpoint.pt", "log": tmp_path / "log.jsonl"}
    with monkeypatch.context() as patched:
        patched.setattr(module, "tqdm", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            pyness.fit_landscape(SYSTEM, samples, **files, **SMALL)
    resumed = pyness.fit_landscape(SYSTEM, samples, resume=True, **files, **SMALL)
    for name, tensor in landscape.network.tensors.items():
        assert torch.equal(resumed.network.tensors[name], tensor), name
    assert len(files["log"].read_text().splitlines()) == 3


def test_what_it_cannot_do(landscape, samples):
    with pytest.raises(InputError, match="method 'flow' has no uncertainty; take method='enhanced'"):
        landscape.potential_stderr(torch.zeros(1, 2))
    with pytest.raises(InputError, match=r"give a landscape of pyness\.fit_landscape, no flow"):
        pyness.fit_landscape(SYSTEM, samples, start=landscape)
    with pytest.raises(InputError, match="but method 'flow' begins from nothing; leave start out"):
        pyness.fit_landscape(SYSTEM, samples, start=landscape, **SMALL)
    ring = pyness.Box([0.0, 0.0], [1.0, 1.0], ["periodic", "open"])
    circle = pyness.System("circle", 2, lambda x: -x, 0.1, ring)
    states = pyness.Samples.from_states(circle, ring.uniform(100, torch.Generator().manual_seed(0)))
    with pytest.raises(InputError, match="coordinate x1 is periodic and method 'flow' has open ones only"):
        pyness.fit_landscape(circle, states, **SMALL)

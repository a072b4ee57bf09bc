"""``fit_landscape`` on exact samples, and its refusals."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import InputError
from pyness.estimators import potential_error
from pyness.landscape.assembly import _scaled
from pyness.landscape.fit import _fingerprint
from pyness.landscape.network import Network
from tests.estimators.exact import double_well_states, gaussian_states


@pytest.fixture(scope="module")
def gaussian():
    system = pyness.systems.get("ornstein-uhlenbeck")
    return system, pyness.Samples.from_states(system, gaussian_states(system, 4000, 1).reshape(2000, 2, 3))


def test_double_well():
    system = pyness.systems.get("double-well")
    samples = pyness.Samples.from_states(system, double_well_states(16_000, 10).reshape(2000, 8, 2))
    landscape = pyness.fit_landscape(system, samples, seed=0, units=40, points=4000, contrast=8000, steps=40)
    nodes = system.evaluation.nodes()
    found = potential_error(landscape.potential(nodes), system.truth.potential(nodes), system.potential_scale)
    assert found.rrmse < 0.05
    wells = landscape.potential(torch.tensor([[0.5, 1.5], [2.5, 1.5]], dtype=torch.float64))
    # 8000 training states split between the wells with a standard error of 0.022 D in the depth
    assert (wells[0] - wells[1]).abs().item() < 4 * 0.022 * 0.1
    report = landscape.report(pyness.Samples.from_states(system, double_well_states(40_000, 11)))
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr
    assert abs(report.epr_upper.value - report.epr_lower.value) < 0.05 * system.truth.epr
    assert report.epr.stderr < 0.5 * report.epr_score_free.stderr
    assert abs(report.gradient_error.value) < 0.01
    assert report.warnings == ()
    assert report.states == 40_000


def test_ornstein_uhlenbeck(gaussian):
    system, samples = gaussian
    landscape = pyness.fit_landscape(system, samples, seed=2, units=20, points=1500, contrast=4000, steps=16)
    fresh = gaussian_states(system, 20_000, 3)
    difference = (landscape.potential(fresh) - system.truth.potential(fresh)) / 0.5
    assert difference.std().item() < 0.05
    report = landscape.report(pyness.Samples.from_states(system, fresh))
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr
    assert abs(report.gradient_error.value) < 0.005
    assert landscape.report().to_dict() == landscape.report(samples).to_dict()
    velocity = fresh @ torch.linalg.inv(torch.cov(gaussian_states(system, 1_000_000, 4).mT)) * 0.5
    error = landscape.current_velocity(fresh) - system.drift(fresh) - velocity
    assert error.square().mean().sqrt() < 0.03 * velocity.square().mean().sqrt()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("units", 0), ("units", True), ("units", 10.0), ("steps", 0), ("points", 0),
        ("contrast", "many"), ("widening", 1), ("widening", float("nan")), ("held_out", 1.5), ("held_out", 0),
        ("seed", True), ("seed", 1.0),
    ],
)  # fmt: skip
def test_options_are_refused(gaussian, option, value):
    with pytest.raises(InputError, match=f"{option} is {value!r}; give"):
        pyness.fit_landscape(*gaussian, **{option: value})


def test_samples_are_refused(gaussian):
    system, samples = gaussian
    with pytest.raises(InputError, match=r"samples have 3 coordinates.*has 2"):
        pyness.fit_landscape(pyness.systems.get("double-well"), samples)
    with pytest.raises(InputError, match="3 walkers; give"):
        pyness.fit_landscape(system, samples.select(range(3)))
    inertia = pyness.System(
        "inertia", 3, lambda x: torch.stack([x[..., 1], -x[..., 0] - x[..., 1], -x[..., 2]], -1), [0.0, 1.0, 1.0]
    )
    with pytest.raises(InputError, match="without noise; learn its score"):
        pyness.fit_landscape(inertia, samples)


@pytest.mark.parametrize("method", ["epr", "hjb"])
def test_baselines(gaussian, method):
    system, samples = gaussian
    landscape = pyness.fit_landscape(system, samples, seed=2, method=method, units=10, steps=12, progress=False)
    report = landscape.report(pyness.Samples.from_states(system, gaussian_states(system, 20_000, 3)))
    # the monomials hold the exact potential, so both find it, as far as 2000 states let them
    assert abs(report.gradient_error.value) < 0.02
    assert report.to_dict()["method"] == method
    assert report.to_dict()["laplacian"] == "closed form, one forward pass"
    assert report.to_dict()["drift_divergence"] == "3 forward passes"


def test_a_start_from_larger_noise(gaussian):
    """Scaled to the smaller noise, the potential of the larger one is the answer already: nothing is left to do."""
    system, samples = gaussian
    options = {"units": 10, "points": 800, "contrast": 3000, "progress": False}
    first = pyness.fit_landscape(system, samples, seed=2, steps=12, **options)
    cold = pyness.systems.get("ornstein-uhlenbeck", D=0.25)
    x = gaussian_states(cold, 4000, 5)
    states = pyness.Samples.from_states(cold, x.reshape(2000, 2, 3))
    went_on = pyness.fit_landscape(cold, states, seed=3, steps=1, start=first, **options)
    off = went_on.potential(x) - cold.truth.potential(x)
    assert off.std().item() < 0.05 * 0.25
    assert (
        went_on.metadata["start"]
        != pyness.fit_landscape(cold, states, seed=3, steps=1, start=went_on, **options).metadata["start"]
    )
    with pytest.raises(InputError, match=r"'ornstein-uhlenbeck' \(d=3: .*, this is 'double-well' \(d=2: "):
        pyness.fit_landscape(
            pyness.systems.get("double-well"),
            pyness.Samples.from_states(pyness.systems.get("double-well"), double_well_states(50, 1)),
            start=first,
        )
    with pytest.raises(InputError, match="start is 3; give a landscape"):
        pyness.fit_landscape(cold, states, start=3)


PLANE = [[1.0, 0.8], [-0.6, 1.5]]
FLAT = pyness.systems.get("ornstein-uhlenbeck", A=PLANE, D=0.5)


def _at(noise, name="ornstein-uhlenbeck", **given):
    return pyness.System(name, 2, FLAT.drift, noise, FLAT.domain, FLAT.variables, **given)


@pytest.mark.parametrize(
    ("before", "after", "ratio"),
    [
        (lambda x: 0.5 + 0.1 * x.square(), lambda x: 0.25 + 0.05 * x.square(), 2.0),
        (0.5, lambda x: 0.5 + 0 * x, 1.0),
        ([0.3, 0.7], 0.25, 2.0),
        ([[0.5, 0.1], [0.1, 0.3]], [[0.25, 0.05], [0.05, 0.15]], 2.0),
    ],
)
def test_a_start_is_scaled_by_the_noise_of_either_kind(before, after, ratio):
    x, generator = gaussian_states(FLAT, 500, 6), torch.Generator().manual_seed(0)
    network = Network.draw(_at(before), x, 6, generator)
    network = network.with_parameters(torch.randn(network.parameters.shape, generator=generator, dtype=torch.float64))
    scaled = _scaled(_at(after), pyness.Landscape(_at(before), network, 0.0, {}), x)
    fixed = network.places(x, 0).fixed
    expected = ratio * (network.value(network.places(x, 0)) - fixed) + fixed
    torch.testing.assert_close(scaled.value(scaled.places(x, 0)), expected)


def test_a_start_of_other_equations_is_refused():
    network = Network.draw(FLAT, gaussian_states(FLAT, 500, 6), 6, torch.Generator().manual_seed(0))
    first = pyness.Landscape(FLAT, network, 0.0, {"options": {}})
    for same in (_at(0.1), FLAT.with_noise(0.25), _at(lambda x: 0.1 + 0 * x, parameters={"A": 3})):
        assert _fingerprint(same, first)
    named = pyness.System(FLAT.name, 2, FLAT.drift, 0.5, FLAT.domain, ("a", "b"))
    walled = pyness.System(FLAT.name, 2, FLAT.drift, 0.5, pyness.Box([-4, -4], [4, 4], "reflect"), FLAT.variables)
    for other in (_at(0.1, name="another"), named, walled):
        with pytest.raises(InputError, match=r"'ornstein-uhlenbeck' \(d=2: x1 open.* give one of the same equations"):
            _fingerprint(other, first)
    with pytest.raises(InputError, match=r"start is reduced to None, this to \['x1'\]; give one of the same"):
        _fingerprint(FLAT, first, ["x1"])


def test_many_dimensions():
    """Two wells in eight dimensions stand on a mixture of two Gaussians, whose depths the network keeps."""
    dim = 8
    apart = torch.zeros(dim, dtype=torch.float64)
    apart[0] = 4.0

    def phi(x):
        wide = 0.5 * x.square().sum(-1)
        tight = 0.5 * (x - apart.to(x)).square().sum(-1) / 0.3
        logs = torch.stack([-wide + torch.tensor(0.6).log(), -tight + torch.tensor(0.4 / 0.3**4).log()], -1)
        return -torch.logsumexp(logs, -1)

    turn = torch.zeros(dim, dim, dtype=torch.float64)
    turn[0, 1], turn[1, 0] = 1.0, -1.0
    box = pyness.Box([-3.0] * dim, [6.0] * dim, "open")
    system = pyness.systems.from_potential(
        "two", dim, phi, 0.5, turn, box, solver="EulerHeun:dt=0.02", plan={"walkers": 1000}
    )
    generator = torch.Generator().manual_seed(0)

    def draw(count):
        first = torch.rand(count, 1, generator=generator) < 0.6
        x = torch.randn(count, dim, generator=generator, dtype=torch.float64)
        return torch.where(first, x, apart + 0.3**0.5 * x)

    samples = pyness.Samples.from_states(system, draw(16_000))
    landscape = pyness.fit_landscape(
        system, samples, seed=0, units=15, points=1500, contrast=4000, steps=6, progress=False
    )
    assert len(landscape.network.base.weights) == 2
    x = draw(10_000)
    off = landscape.potential(x) - 0.5 * phi(x)
    assert off.std().item() < 0.25 * 0.5
    assert len(landscape.basins(samples).basins) == 2

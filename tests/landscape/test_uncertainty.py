"""Error bars of a potential: what they count from, that they scatter as refits do, and where there are none."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import InputError
from tests.estimators.exact import gaussian_states

SMALL = {"units": 8, "points": 600, "contrast": 3000, "steps": 8, "progress": False}
SYSTEM = pyness.systems.get("ornstein-uhlenbeck", A=[[1.0, 0.8], [-0.6, 1.5]], D=0.5)
PLACES = torch.tensor([[0.0, 0.0], [0.7, 0.0], [-0.7, 0.5], [0.9, 0.9]], dtype=torch.float64)


def _fit(seed: int, **options) -> pyness.Landscape:
    samples = pyness.Samples.from_states(SYSTEM, gaussian_states(SYSTEM, 3000, 10 + seed).reshape(1500, 2, 2))
    return pyness.fit_landscape(SYSTEM, samples, seed=seed, **(SMALL | options))


@pytest.fixture(scope="module")
def fits(request):
    from pyness.landscape import assembly as module

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "CLOUD", 1500)
        yield [_fit(seed) for seed in range(6)]


def test_it_scatters_as_refits_do(fits):
    """Differences between places: six fits to other samples, each with its own error bar."""
    true = SYSTEM.truth.potential(PLACES)
    z = []
    for fit in fits:
        for place, exact in zip(PLACES[1:], true[1:] - true[0], strict=True):
            found = fit.difference(place, PLACES[0])
            assert 0 < found.stderr < 0.2
            z.append((found.value - exact.item()) / found.stderr)
    z = torch.tensor(z)
    # 18 deviations, those of one fit correlated: rms 1 within a factor of 2
    assert 0.5 < z.square().mean().sqrt() < 2.0


def test_it_counts_from_the_lowest_state(fits, tmp_path):
    fit = fits[0]
    lowest = fit.uncertainty["lowest_at"]
    assert fit.potential(lowest[None]).item() == pytest.approx(0, abs=1e-12)
    assert fit.potential_stderr(lowest[None]).item() == 0
    error = fit.potential_stderr(PLACES.reshape(2, 2, 2))
    assert error.shape == (2, 2)
    one = fit.difference(PLACES[3], lowest)
    assert one.stderr == pytest.approx(error[1, 1].item())
    assert one.value == pytest.approx(fit.potential(PLACES[3:]).item())
    fit.save(tmp_path / "model.safetensors")
    loaded = pyness.Landscape.load(tmp_path / "model.safetensors")
    assert torch.equal(loaded.potential_stderr(PLACES), fit.potential_stderr(PLACES))


def test_fewer_walkers_know_less(fits):
    samples = pyness.Samples.from_states(SYSTEM, gaussian_states(SYSTEM, 750, 40).reshape(375, 2, 2))
    few = pyness.fit_landscape(SYSTEM, samples, seed=0, **SMALL)
    ratio = few.potential_stderr(PLACES).mean() / torch.stack([fit.potential_stderr(PLACES) for fit in fits]).mean()
    assert ratio > 1.2


@pytest.mark.parametrize(("walkers", "contrast", "groups"), [(100, 1000, 50), (100, 100, None), (400, 100, None)])
def test_few_walkers_and_few_points_have_error_bars_too(walkers, contrast, groups, fits):
    """Of as many groups as there are walkers to train on, or as the contrast has."""
    samples = pyness.Samples.from_states(SYSTEM, gaussian_states(SYSTEM, 4 * walkers, 41).reshape(walkers, 4, 2))
    fit = pyness.fit_landscape(SYSTEM, samples, **(SMALL | {"steps": 2, "contrast": contrast}))
    found = fit.uncertainty["deviations"].shape[1] - 1
    assert found == groups or (groups is None and 20 < found <= 64)
    assert bool((fit.potential_stderr(PLACES) > 0).all())


def test_one_walker_tells_nothing(fits):
    samples = pyness.Samples.from_states(SYSTEM, gaussian_states(SYSTEM, 2000, 42).reshape(4, 500, 2))
    fit = pyness.fit_landscape(SYSTEM, samples, **(SMALL | {"steps": 1, "held_out": 0.75}))
    with pytest.raises(InputError, match="'enhanced' has no uncertainty; train on more walkers"):
        fit.potential_stderr(PLACES)


def test_where_there_is_none():
    with pytest.raises(InputError, match="potential by method 'hjb' has no uncertainty; take method='enhanced'"):
        _fit(0, method="hjb", contrast=None).potential_stderr(PLACES)

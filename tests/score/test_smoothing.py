"""Scans over the smoothing width: the limit is that of the closed form, and what cannot be scanned is refused."""

from __future__ import annotations

import pytest
import torch

from pyness import Estimate, Samples, scan_alpha
from pyness.errors import InputError, TrainingError
from pyness.score.smoothing import extrapolated
from pyness.systems import get

ALPHAS = (0.05, 0.1, 0.15)


def pair(count: int):
    """One trapped particle without noise of positions, exact states; ``Var(g | x) = gamma / (trap + gamma)``."""
    system = get("aoup-harmonic", n_particles=1, spring=0.0, trap=1.0, gamma=0.02, eps=0.0)
    generator, slope = torch.Generator().manual_seed(0), 0.5 / 1.02
    g = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    scatter = (slope**2 * 0.02) ** 0.5
    x = slope * g + scatter * torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return system, Samples.from_states(system, torch.cat([x, g], dim=-1))


def product(alpha: float, trap: float = 1.0, gamma: float = 0.02) -> float:
    """``gamma E[(g + s_g) (g + s_t)]`` of the smoothed score on unperturbed states (active_matter.md, 10)."""
    V = gamma / (trap + gamma)
    return gamma * (1 - V) / (V + alpha**2)


def test_the_limit_is_the_activity_part_without_smoothing():
    found = extrapolated(ALPHAS, [Estimate(product(a), 1e-3) for a in ALPHAS])
    assert abs(found.value - product(0.0)) < 1e-9
    assert product(ALPHAS[0]) < 0.9
    assert found.stderr > 1e-3
    assert extrapolated(ALPHAS, [Estimate(1.0, float("nan"))] * 3).value == pytest.approx(1.0)


def test_a_scan_keeps_what_each_width_gave():
    system, samples = pair(400)
    scan = scan_alpha(system, samples, (0.3, 0.2), steps=8, batch=64, width=8, depth=1, progress=False)
    assert scan.alphas == (0.2, 0.3)
    assert [s.metadata["options"]["alpha"] for s in scan.scores] == [0.2, 0.3]
    assert len(scan.activity) == len(scan.against_current) == 2
    assert scan.exact.value == pytest.approx(system.truth.activity_epr)
    assert "alpha -> 0" in str(scan)


@pytest.mark.validate
def test_learnt_scores_are_as_smooth_as_their_width():
    system, samples = pair(8_000)
    scan = scan_alpha(system, samples, ALPHAS, steps=150, batch=2048, progress=False)
    for alpha, value in zip(ALPHAS, scan.activity, strict=True):
        assert abs(value.value - product(alpha)) < 4 * value.stderr + 0.05 * product(alpha)
    assert abs(scan.limit.value - scan.exact.value) < 4 * scan.limit.stderr + 0.02


def test_refusals():
    system, samples = pair(10)
    for option in ({"loss": "implicit"}, {"alpha": 0.1}, {"perturb": "xg"}):
        with pytest.raises(InputError, match="leave it out: the scan chooses it"):
            scan_alpha(system, samples, ALPHAS, **option)
    for alphas in ((0.0, 0.1), ("0.1", 0.2)):
        with pytest.raises(InputError, match=r"alpha is .+; give a number greater than 0"):
            scan_alpha(system, samples, alphas)
    for alphas in ((0.1,), (0.1, 0.1), 0.1, "wide"):
        with pytest.raises(InputError, match="give two different widths or more"):
            scan_alpha(system, samples, alphas)
    with pytest.raises(InputError, match="no activities"):
        scan_alpha(get("double-well"), samples, ALPHAS)
    with pytest.raises(TrainingError, match="finds no current"):
        extrapolated(ALPHAS, [Estimate(0.0, 0.1)] * 3)
    with pytest.raises(TrainingError, match="does not extrapolate"):
        extrapolated(ALPHAS[:2], [Estimate(1.0, 1e-3), Estimate(0.05, 1e-3)])

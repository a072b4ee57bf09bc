"""The Python of the README does what it says, with few walkers and next to no training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import pyness
from pyness.landscape import assembly

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README.split("## In Python")[1].split("\n## ")[0], re.DOTALL)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """What the blocks call, with less to do."""
    sample, fit, draw = pyness.sample, pyness.fit_landscape, pyness.plots.overview
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assembly, "CLOUD", 500)
    monkeypatch.setattr(
        pyness, "sample",
        lambda system, **k: sample(system, **k, engine="torch", walkers=200, snapshots=2, progress=False),
    )  # fmt: skip
    monkeypatch.setattr(
        pyness, "fit_landscape",
        lambda *a, **k: fit(*a, **k, units=5, steps=2, points=300, contrast=500, progress=False),
    )  # fmt: skip
    monkeypatch.setattr(pyness.plots, "overview", lambda *a, path: draw(*a, path=path, resolution=30))
    (tmp_path / "network.toml").write_text('genes = ["A", "B"]\nedges = [["A", "A", "+"], ["B", "A", "-"]]\n')
    return tmp_path


def test_first_and_last_block(small):
    names: dict = {}
    exec(BLOCKS[0], names)
    exec(BLOCKS[-1], names)
    assert (small / "mine.png").read_bytes()[:4] == b"\x89PNG"
    assert names["network"].variables == ("A", "B")
    assert names["switch"].domain.boundary == ("clip", "clip")
    assert names["wedge"].walls == (((-1.0, 1.0), 0.0),)
    x = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    assert names["wedge"].contains(x).tolist() == [True, False]
    # a rotation by 1 at p = exp(-|z|^2): E[v . D^{-1} v] = E[|2 z|^2 / D] with v = (-2 y, 2 x)
    z = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0)) * 0.5**0.5
    found = (4 * z.square().sum(-1) / (1 + 0.5 * torch.tanh(z[:, 0]))).mean().item()
    assert names["made"].truth.epr == pytest.approx(found, rel=0.02)

"""Networks from files of edges: the published one, its attractors, a small one by hand, and what is refused."""

from __future__ import annotations

import pytest
import torch

import pyness
from pyness.errors import SystemDefinitionError
from pyness.systems import hill_network, read_network
from pyness.systems.stem_cell import STEM_CELL

TWO = 'genes = ["A", "B"]\nedges = [["A", "A", "+"], ["B", "A", "-"], ["A", "B", "-"]]\n'


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "network.toml"
        path.write_text(text)
        return path

    return write


def test_the_published_network():
    network = read_network(STEM_CELL)
    assert len(network.genes) == 52
    assert (network.matrix(+1).sum().item(), network.matrix(-1).sum().item()) == (83, 39)
    assert (network.genes[16], network.genes[31]) == ("GATA6", "NANOG")
    without_input = (network.matrix(+1) + network.matrix(-1)).sum(1) == 0
    assert without_input.nonzero().flatten().tolist() == [1, 4, 8, 25, 27]
    itself = network.matrix(+1).diagonal().nonzero().flatten().tolist()
    assert itself == [5, 9, 10, 16, 31, 37, 43]
    # GATA6: 15- 16+ 24- 31- 33- 39-
    assert network.matrix(-1)[16].nonzero().flatten().tolist() == [15, 24, 31, 33, 39]


def test_the_drift_is_the_sum_over_edges():
    system = pyness.systems.get("stem-cell-52d")
    network = read_network(STEM_CELL)
    x = system.domain.uniform(5, torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = -x.clone()
    for target, source, sign in network.edges:
        up, on = x[:, source] ** 3, 0.5**3
        expected[:, target] += 0.37 * up / (on + up) if sign > 0 else 0.5 * on / (on + up)
    assert torch.allclose(system.drift(x), expected, rtol=1e-12, atol=1e-12)
    assert system.variables == network.genes


def test_two_deterministic_attractors():
    """(GATA6, NANOG) = (1.05, 1.23) and (2.17, 0.01) (landscapes.md, 5.7)."""
    system = pyness.systems.get("stem-cell-52d")
    x = system.domain.uniform(2000, torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(500):
        x = x + 0.1 * system.drift(x)
    ends = x[:, [system.variables.index("GATA6"), system.variables.index("NANOG")]]
    low = (ends - torch.tensor([1.0535, 1.2310])).norm(dim=1) < 1e-2
    high = (ends - torch.tensor([2.1710, 0.0060])).norm(dim=1) < 1e-2
    assert bool((low | high).all())
    assert 0 < int(high.sum()) < 20


@pytest.mark.validate
def test_both_attractors_have_a_basin_with_noise():
    """Weights of 4000 other walkers, 0.699 +- 0.010 (benchmarks/README.md)."""
    system = pyness.systems.get("stem-cell-52d")
    samples = pyness.sample(system, walkers=1000, seed=1, progress=False)
    landscape = pyness.fit_landscape(system, samples, reduce=["GATA6", "NANOG"], units=40, steps=30, progress=False)
    high, low = landscape.basins(samples).basins
    assert high.at.tolist() == pytest.approx([2.12, 0.05], abs=0.1)
    assert low.at.tolist() == pytest.approx([1.07, 1.18], abs=0.1)
    apart = abs(high.population.value - 0.699)
    assert apart < 4 * (high.population.stderr**2 + 0.010**2) ** 0.5
    assert high.population.stderr < 0.02


def test_a_network_of_ones_own(file):
    system = hill_network(file(TWO), name="mine", D=0.1, a=1.0, b=2.0, S=1.0, n=2)
    x = torch.tensor([1.0, 2.0], dtype=torch.float64)
    on = x**2 / (1 + x**2)
    expected = torch.stack([-x[0] + on[0] + 2 * (1 - on[1]), -x[1] + 2 * (1 - on[0])])
    assert torch.allclose(system.drift(x), expected)
    assert (system.name, system.variables, system.dim) == ("mine", ("A", "B"), 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TWO.replace('"B", "A", "-"', '"B", "C", "-"'), r"edge 2 .* unknown gene 'C'"),
        (TWO.replace('"A", "B", "-"', '"B", "A", "+"'), r"edge 3 .* is there twice"),
        (TWO.replace('"A", "A", "+"', '"A", "A", "activates"'), r"edge 1 .* the sign 'activates'"),
        (TWO.replace('"A", "A", "+"', '"A", "A"'), "has 2 entries"),
        (TWO.replace('"A", "A", "+"', '"A", ["A"], "+"'), r"edge 1 .* unknown gene \['A'\]"),
        (TWO.replace('"A", "A", "+"', '0, "A", "+"'), "edge 1 .* unknown gene 0"),
        (TWO.replace('"A", "A", "+"', '"A", "A", ["+"]'), r"edge 1 .* the sign \['\+'\]"),
        (TWO.replace('"A", "A", "+"', '"A", "A", 1'), "edge 1 .* the sign 1"),
        (TWO.replace('["A", "B"]', '["A", "B", "A"]'), "names gene 'A' twice"),
        ("genes = 3", "lacks genes or edges"),
        ("genes = [", "cannot be read"),
    ],
)
def test_refusals(file, text, words):
    with pytest.raises(SystemDefinitionError, match=words) as caught:
        read_network(file(text))
    assert "\n" not in str(caught.value)


def test_an_absent_file(tmp_path):
    with pytest.raises(SystemDefinitionError, match="cannot be read"):
        hill_network(tmp_path / "none.toml")

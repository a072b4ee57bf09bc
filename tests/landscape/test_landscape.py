"""``Landscape``: what it evaluates, what it reports, and its files."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import pyness
from pyness.errors import InputError, StoreError
from pyness.landscape.landscape import Landscape
from pyness.landscape.network import Network
from pyness.systems.derivatives import value_and_divergence
from tests.estimators.exact import double_well_states


def _landscape(system: pyness.System, samples: pyness.Samples, scale: float = 1.0) -> Landscape:
    """An untrained potential, which is all that most of these questions need."""
    generator = torch.Generator().manual_seed(0)
    states = samples.states.reshape(-1, system.dim).double()
    network = Network.draw(system, states, 20, generator)
    parameters = network.parameters
    parameters[network.outer] = scale * torch.randn(
        parameters[network.outer].shape, generator=generator, dtype=torch.float64
    )
    network = network.with_parameters(parameters)
    lowest = network.value(network.places(states)).min().item()
    metadata = {"options": {"held_out": 0.25}, "seed": 3, "samples": samples.fingerprint}
    return Landscape(system, network, lowest, metadata, samples=samples)


@pytest.fixture(scope="module")
def setting():
    system = pyness.systems.get("double-well", D=0.2)
    samples = pyness.Samples.from_states(system, double_well_states(2000, 1, 0.2).reshape(1000, 2, 2))
    return system, samples, _landscape(system, samples)


def test_potential_and_velocity(setting):
    system, samples, landscape = setting
    x = samples.states[:20]
    potential = landscape.potential(x)
    assert potential.shape == (20, 2)
    assert landscape.potential(samples.states).min().item() == pytest.approx(0, abs=1e-12)
    gradient = torch.func.grad(lambda y: landscape.potential(y).sum())(x)
    velocity = landscape.current_velocity(x)
    # U = D Phi, so v = F + grad U
    torch.testing.assert_close(velocity, system.drift(x) + gradient, rtol=1e-8, atol=1e-8)
    flat = x.reshape(-1, 2)
    both = landscape.velocity_and_divergence(flat)
    expected = value_and_divergence(landscape.current_velocity, flat)
    for found, wanted in zip(both, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-7)
    single = landscape.potential(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), potential, rtol=1e-4, atol=1e-4)


def test_states_are_refused(setting):
    _, _, landscape = setting
    for x in (torch.zeros(5, 3), [0.0, 0.0]):
        for call in (landscape.potential, landscape.current_velocity):
            with pytest.raises(InputError, match=r"has 2 coordinates; give a tensor \(\.\.\., 2\)"):
                call(x)


def test_report_counts_what_training_did_not_see(setting, tmp_path):
    system, samples, landscape = setting
    trained = landscape.report(samples)
    assert trained.states == 250 * 2
    held_out = samples.split(0.25, seed=3)[0]
    fresh = landscape.report(held_out)
    assert fresh.states == 250 * 2
    assert (fresh.epr, fresh.epr_upper, fresh.gradient_error) == (
        trained.epr,
        trained.epr_upper,
        trained.gradient_error,
    )
    other = pyness.Samples.from_states(system, double_well_states(600, 2, 0.2))
    assert landscape.report(other).states == 600
    assert trained.system == "double-well"
    assert landscape.report().epr == trained.epr
    landscape.save(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="no samples to report on; give the training samples, or fresh ones"):
        Landscape.load(tmp_path / "model.safetensors").report()
    with pytest.raises(InputError, match="system is 'double-well'; give a System"):
        Landscape.load(tmp_path / "model.safetensors", "double-well")
    with pytest.raises(InputError, match="samples are a str"):
        landscape.report("samples.zarr")
    line = pyness.System("line", 1, lambda x: -x, 1.0)
    of_a_line = pyness.Samples.from_states(line, torch.zeros(5, 1))
    with pytest.raises(InputError, match=r"samples have 1 coordinates.*has 2"):
        landscape.report(of_a_line)


def test_a_bad_potential_is_called_so(setting):
    """The midpoint holds for any potential; the bounds are loose and the report says it."""
    system, samples, _ = setting
    bad = _landscape(system, samples, scale=0.0)
    fresh = pyness.Samples.from_states(system, double_well_states(20_000, 4, 0.2))
    report = bad.report(fresh)
    # without a potential phi = F: upper - e_p is all of the Fisher rate
    assert report.gradient_error.value == pytest.approx(1.0, abs=4 * report.gradient_error.stderr)
    assert any("the bounds are loose" in line for line in report.warnings)
    assert abs(report.epr.value - system.truth.epr) < 4 * report.epr.stderr


def test_negative_gap_is_called_so(setting):
    """Samples that are far too narrow are of no steady state of this drift."""
    system, _, _ = setting
    narrow = 1.5 + 0.1 * torch.randn(5000, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    samples = pyness.Samples.from_states(system, narrow)
    report = _landscape(system, samples, scale=0.0).report(samples)
    assert any("not stationary" in line for line in report.warnings)
    assert any("gradient error is negative" in line for line in report.warnings)


def test_missing_fold_records_are_called_so():
    system = pyness.System("walled", 2, lambda x: -x, 0.3, pyness.Box([-1, -1], [1, 1], "reflect"))
    states = system.domain.uniform(400, torch.Generator().manual_seed(6), dtype=torch.float64)
    samples = pyness.Samples.from_states(system, states)
    report = _landscape(system, samples).report(samples)
    assert any("no fold records" in line for line in report.warnings)
    plane = pyness.System("open", 2, lambda x: -x, 0.3, pyness.Box([-1, -1], [1, 1], "open"))
    samples = pyness.Samples.from_states(plane, states)
    assert not any("fold" in line for line in _landscape(plane, samples).report(samples).warnings)


@pytest.fixture
def saved(setting, tmp_path):
    path = tmp_path / "model.safetensors"
    setting[2].save(path)
    return path


def test_save_and_load(setting, saved):
    system, samples, landscape = setting
    assert sorted(file.name for file in saved.parent.iterdir()) == ["model.json", "model.safetensors"]
    for loaded in (Landscape.load(saved), pyness.Landscape.load(saved, system)):
        assert loaded.system.parameters == {"D": 0.2, "c": 0.5}
        assert torch.equal(loaded.potential(samples.states), landscape.potential(samples.states))
        assert torch.equal(loaded.current_velocity(samples.states), landscape.current_velocity(samples.states))
        assert loaded.metadata == landscape.metadata
    # as text, since an error bar that is not known is NaN, which differs from itself
    assert repr(Landscape.load(saved).report(samples).to_dict()) == repr(landscape.report(samples).to_dict())


def test_save_where_nothing_can_be_written(setting, tmp_path):
    with pytest.raises(StoreError, match="cannot write"):
        setting[2].save(tmp_path / "missing" / "model.safetensors")


def test_unregistered_systems_are_asked_for(tmp_path):
    system = pyness.System("mine", 2, lambda x: -x, 0.3)
    states = torch.randn(400, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    landscape = _landscape(system, pyness.Samples.from_states(system, states))
    path = tmp_path / "mine.safetensors"
    landscape.save(path)
    with pytest.raises(StoreError, match=r"'mine'.*no registered system; pass system= to load"):
        Landscape.load(path)
    assert torch.equal(Landscape.load(path, system).potential(states), landscape.potential(states))
    with pytest.raises(StoreError, match=r"landscape of 'mine' \(d=2\), not of 'double-well'"):
        Landscape.load(path, pyness.systems.get("double-well"))


@pytest.mark.parametrize("missing", [".safetensors", ".json"])
def test_missing_files(saved, missing):
    saved.with_suffix(missing).unlink()
    with pytest.raises(StoreError, match=rf"model{missing} does not exist"):
        Landscape.load(saved)


@pytest.mark.parametrize("keep", [0, 5, 300, -8])
def test_truncated_weights(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(StoreError, match="damaged or no landscape"):
        Landscape.load(saved)


def test_foreign_weights(saved):
    save_file({"weights": torch.zeros(3, 2)}, str(saved))
    with pytest.raises(StoreError, match="damaged or no landscape"):
        Landscape.load(saved)


def test_weights_of_an_earlier_version(saved):
    tensors = load_file(str(saved))
    save_file(tensors | {"fast": torch.zeros(0)}, str(saved))
    with pytest.raises(StoreError, match="train it again"):
        Landscape.load(saved)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"kind": "something else", "format": 1}'])
def test_foreign_sidecar(saved, content):
    saved.with_suffix(".json").write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match="damaged or no landscape"):
        Landscape.load(saved)


@pytest.mark.parametrize("key", ["kind", "format", "system", "lowest", "options", "seed", "samples"])
def test_incomplete_sidecar(saved, key):
    note = saved.with_suffix(".json")
    content = json.loads(note.read_text(encoding="utf-8"))
    del content[key]
    note.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StoreError, match="damaged or no landscape"):
        Landscape.load(saved)


def test_a_full_disk_leaves_the_model_that_is_there(setting, saved, monkeypatch):
    before = {file.name: file.read_bytes() for file in saved.parent.iterdir()}
    write = Path.write_bytes

    def full(path, content):
        if path.name.startswith("model.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    system, samples, _ = setting
    with pytest.raises(StoreError, match="No space left"):
        _landscape(system, samples, scale=0.5).save(saved)
    assert {file.name: file.read_bytes() for file in saved.parent.iterdir()} == before

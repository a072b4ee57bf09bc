"""``Samples`` and its store: round trips, selections, data made elsewhere, damage."""

from __future__ import annotations

import errno
import json
import shutil

import numpy as np
import pytest
import torch
import zarr

from pyness import systems
from pyness.errors import InputError, StoreError
from pyness.sampling import Samples, sample
from pyness.sampling import store as stores
from pyness.systems import Box, System


@pytest.fixture(scope="module")
def made() -> Samples:
    return sample(
        systems.get("limit-cycle"), "EM:dt=1e-3", "torch", walkers=100, burn_in=0.1, snapshots=3, spacing=0.2, seed=4
    )


@pytest.fixture
def stored(made, tmp_path):
    path = tmp_path / "s.zarr"
    made.save(path)
    return path


def _equal(one: Samples, other: Samples) -> bool:
    walls = ("walker", "face", "position", "displacement")
    return torch.equal(one.states, other.states) and all(
        torch.equal(getattr(one.walls, name), getattr(other.walls, name)) for name in walls
    )


def test_round_trip(made, stored):
    loaded = Samples.load(stored)
    assert _equal(made, loaded)
    assert loaded.walls.elapsed == pytest.approx(0.6)
    assert loaded.stats == made.stats
    assert torch.equal(loaded.times, made.times)
    assert loaded.system.name == "limit-cycle"
    assert loaded.metadata["versions"]["torch"] == torch.__version__
    assert torch.equal(loaded.start, made.start)
    again = stored.with_name("again.zarr")
    loaded.save(again)
    assert _equal(Samples.load(again), made)


def test_steps_of_an_adaptive_method_come_back(made, tmp_path):
    """They are shorter where the drift is steeper, and none are known of a fixed step."""
    assert made.steps is None
    system = System("steep", 1, lambda x: torch.where(x > 0, -100 * x, -x), 1.0, Box([-2.0], [2.0]))
    plan = {"walkers": 400, "burn_in": 1.0, "snapshots": 4, "spacing": 1.0, "progress": False}
    samples = sample(system, "SOSRA", "torch", store=tmp_path / "s.zarr", **plan)
    assert samples.steps.shape == (400, 4)
    assert bool(torch.isfinite(samples.steps).all())
    steep = samples.states[..., 0] > 0
    # the steps adapt within a few of themselves, so that some on the slow side are still short
    assert samples.steps[steep].median() < 0.5 * samples.steps[~steep].median()
    assert samples.steps.max() <= 1.0
    assert torch.equal(Samples.load(tmp_path / "s.zarr", system).steps, samples.steps)
    samples.save(tmp_path / "again.zarr")
    assert torch.equal(Samples.load(tmp_path / "again.zarr", system).steps, samples.steps)
    assert torch.equal(samples.select([3, 1]).steps, samples.steps[[3, 1]])
    assert samples.to(dtype=torch.float64).steps.dtype == torch.float64


def test_parameters_come_back(tmp_path):
    system = systems.get("double-well", D=0.05)
    sample(system, "EM:dt=1e-2", "torch", walkers=4, burn_in=0.0, snapshots=1, spacing=0.1, store=tmp_path / "s.zarr")
    assert Samples.load(tmp_path / "s.zarr").system.parameters["D"] == 0.05


def test_a_system_of_ones_own(tmp_path):
    system = System("mine", 1, lambda x: -x, 0.1, Box([-1.0], [1.0]))
    sample(system, "EM:dt=1e-2", "torch", walkers=4, burn_in=0.0, snapshots=1, spacing=0.1, store=tmp_path / "s.zarr")
    assert Samples.load(tmp_path / "s.zarr").system is None
    assert Samples.load(tmp_path / "s.zarr", system).system is system
    with pytest.raises(StoreError, match="not of 'double-well'"):
        Samples.load(tmp_path / "s.zarr", systems.get("double-well"))


def test_select_and_split_take_their_folds_along(made):
    first, second = made.split(0.3, seed=1)
    assert (first.walkers, second.walkers) == (30, 70)
    assert len(first.walls) + len(second.walls) == len(made.walls)
    total = made.walls.displacement.double().sum()
    parts = first.walls.displacement.double().sum() + second.walls.displacement.double().sum()
    assert parts.item() == pytest.approx(total.item())
    chosen = made.select([5, 2])
    assert torch.equal(chosen.states, made.states[[5, 2]])
    assert torch.equal(chosen.start, made.start[[5, 2]])
    for new, old in enumerate((5, 2)):
        mine, theirs = chosen.walls.walker == new, made.walls.walker == old
        assert torch.equal(chosen.walls.position[mine], made.walls.position[theirs])
    mask = torch.arange(100) < 3
    assert made.select(mask).walkers == 3
    assert torch.equal(made.split(0.3, seed=1)[0].states, first.states)


@pytest.mark.parametrize("wrong", [[], [0, 0], [100], [-1], [0.5]])
def test_select_refuses(made, wrong):
    with pytest.raises(InputError):
        made.select(wrong)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_split_refuses(made, fraction):
    with pytest.raises(InputError, match="fraction"):
        made.split(fraction)


def test_other_precision(made):
    double = made.to(dtype=torch.float64)
    assert double.states.dtype == double.walls.position.dtype == torch.float64
    assert double.start.dtype == torch.float64
    assert double.walls.walker.dtype == torch.int64


def test_xarray(made):
    view = made.to_xarray()
    assert dict(view.sizes) == {"walker": 100, "time": 3}
    assert np.array_equal(view["y"].values, made.states[..., 1].numpy())
    assert view["time"].values.tolist() == pytest.approx(made.times.tolist())


def test_data_made_elsewhere(tmp_path):
    system = systems.get("double-well")
    flat = np.random.default_rng(0).random((10, 2))
    samples = Samples.from_states(system, flat)
    assert samples.states.shape == (10, 1, 2)
    assert samples.walls is None
    assert Samples.from_states(system, torch.ones(4, 3, 2)).snapshots == 3
    samples.save(tmp_path / "s.zarr")
    loaded = Samples.load(tmp_path / "s.zarr")
    assert loaded.walls is None
    assert loaded.start is None
    assert torch.equal(loaded.states, samples.states)


@pytest.mark.parametrize(
    ("states", "text"),
    [
        (torch.ones(4, 3), "2 coordinates"),
        (torch.ones(2), r"\(2,\)"),
        (torch.tensor([[0.0, torch.nan]]), "NaN"),
        (torch.ones(0, 2), "nothing"),
        ("text", "str"),
    ],
)
def test_data_made_elsewhere_is_checked(states, text):
    with pytest.raises(InputError, match=text):
        Samples.from_states(systems.get("double-well"), states)


def test_states_outside_the_walls_are_refused():
    with pytest.raises(InputError, match="outside"):
        Samples.from_states(systems.get("toggle-switch"), torch.tensor([[0.5, -0.1]]))


def test_nothing_is_overwritten_unasked(made, stored):
    before = (stored / "zarr.json").read_bytes()
    with pytest.raises(StoreError, match="exists"):
        made.save(stored)
    assert (stored / "zarr.json").read_bytes() == before
    made.select([0, 1]).save(stored, overwrite=True)
    assert Samples.load(stored).walkers == 2


def test_overwriting_spares_what_is_not_ours(made, tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(StoreError):
        made.save(folder, overwrite=True)
    assert (folder / "chapter.txt").read_text() == "years of work"


def _first_chunk(path):
    return sorted(p for p in (path / "states" / "c").rglob("*") if p.is_file())[0]


def _cut(path):
    chunk = _first_chunk(path)
    chunk.write_bytes(chunk.read_bytes()[:-40])


def _flip(path):
    chunk = _first_chunk(path)
    content = bytearray(chunk.read_bytes())
    content[10] ^= 0xFF
    chunk.write_bytes(bytes(content))


def _unfinished_json(path):
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text[: len(text) // 2])


def _later_version(path):
    record = json.loads((path / "zarr.json").read_text())
    record["attributes"]["version"] = 99
    (path / "zarr.json").write_text(json.dumps(record))


def _without_plan(path):
    record = json.loads((path / "zarr.json").read_text())
    del record["attributes"]["plan"]
    (path / "zarr.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _flip,
        _unfinished_json,
        _later_version,
        _without_plan,
        lambda path: _first_chunk(path).unlink(),
        lambda path: shutil.rmtree(path / "start" / "c"),
        lambda path: shutil.rmtree(path / "walls"),
        lambda path: shutil.rmtree(path / "walls" / "face" / "c"),
        lambda path: shutil.rmtree(path),
        lambda path: (path / "zarr.json").unlink(),
    ],
    ids=[
        "cut",
        "flip",
        "json",
        "version",
        "no plan",
        "no chunk",
        "no start",
        "no walls",
        "no folds",
        "no store",
        "no json",
    ],
)
def test_damage_is_one_line(stored, damage):
    damage(stored)
    with pytest.raises(StoreError) as caught:
        Samples.load(stored)
    assert "\n" not in str(caught.value)
    assert str(stored) in str(caught.value)


def test_a_foreign_store(tmp_path):
    zarr.create_group(tmp_path / "theirs.zarr", attributes={"format": "something"})
    with pytest.raises(StoreError, match="something else"):
        Samples.load(tmp_path / "theirs.zarr")
    (tmp_path / "file").write_text("no store")
    with pytest.raises(StoreError):
        Samples.load(tmp_path / "file")


def test_a_full_disk(made, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stores, "_make_arrays", full)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        made.save(tmp_path / "s.zarr")
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []

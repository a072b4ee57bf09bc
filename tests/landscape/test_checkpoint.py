"""``fit_landscape`` repeats its bits, interrupted or not, and refuses checkpoints that do not fit."""

from __future__ import annotations

import json

import pytest
import torch

import pyness
from pyness.errors import InputError, StoreError
from pyness.landscape import assembly, newton
from pyness.landscape import fit as module
from tests.estimators.exact import gaussian_states

SMALL = {"units": 10, "points": 500, "contrast": 500, "steps": 5}


@pytest.fixture(scope="module", autouse=True)
def _few_widened_states():
    """Bits do not depend on how many there are, time does; anchors are released before an interruption."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(assembly, "CLOUD", 1000)
        patched.setattr(newton, "RELEASE", 2)
        yield


@pytest.fixture(scope="module")
def gaussian():
    system = pyness.systems.get("ornstein-uhlenbeck")
    return system, pyness.Samples.from_states(system, gaussian_states(system, 2000, 1).reshape(1000, 2, 3))


@pytest.fixture(scope="module")
def whole(gaussian, tmp_path_factory):
    """A small training without interruption, and its log."""
    log = tmp_path_factory.mktemp("whole") / "log.jsonl"
    landscape = pyness.fit_landscape(*gaussian, seed=5, log=log, **SMALL)
    return landscape, log.read_text(encoding="utf-8")


def _equal(one: pyness.Landscape, two: pyness.Landscape) -> bool:
    assert one.network.tensors.keys() == two.network.tensors.keys()
    same = [torch.equal(one.network.tensors[name], two.network.tensors[name]) for name in one.network.tensors]
    return all(same) and one.lowest == two.lowest


def test_same_seed_same_bits(gaussian, whole):
    assert _equal(pyness.fit_landscape(*gaussian, seed=5, **SMALL), whole[0])
    other = pyness.fit_landscape(*gaussian, seed=6, **SMALL)
    assert not torch.equal(other.network.tensors["weights"], whole[0].network.tensors["weights"])


def test_log_has_one_record_per_step(whole):
    records = [json.loads(line) for line in whole[1].splitlines()]
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    assert 2 < len(records) <= 5
    assert {"epr", "contrast", "hjb", "gradient_error", "decrease", "damping"} <= records[-1].keys()


class _Interrupted(module.tqdm):
    """Ctrl-C once the third step is done (the first update is that of the assembly)."""

    updates = 0

    def update(self, n=1):
        self.updates += 1
        if self.updates == 1 + 3:
            raise KeyboardInterrupt


def test_interrupted_and_resumed(gaussian, whole, tmp_path, monkeypatch):
    files = {"checkpoint": tmp_path / "checkpoint.pt", "log": tmp_path / "log.jsonl"}
    with monkeypatch.context() as patched:
        patched.setattr(module, "tqdm", _Interrupted)
        with pytest.raises(KeyboardInterrupt):
            pyness.fit_landscape(*gaussian, seed=5, **files, **SMALL)
    assert len(files["log"].read_text(encoding="utf-8").splitlines()) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    resumed = pyness.fit_landscape(*gaussian, seed=5, resume=True, **files, **SMALL)
    assert _equal(resumed, whole[0])
    assert files["log"].read_text(encoding="utf-8") == whole[1]
    # of a finished one nothing is done again
    again = pyness.fit_landscape(*gaussian, seed=5, resume=True, **files, **SMALL)
    assert _equal(again, whole[0])
    assert files["log"].read_text(encoding="utf-8") == whole[1]


def test_resume_where_nothing_is_yet(gaussian, whole, tmp_path):
    fresh = pyness.fit_landscape(*gaussian, seed=5, resume=True, checkpoint=tmp_path / "checkpoint.pt", **SMALL)
    assert _equal(fresh, whole[0])


def test_checkpoints_that_do_not_fit(gaussian, tmp_path):
    path = tmp_path / "checkpoint.pt"
    pyness.fit_landscape(*gaussian, seed=5, checkpoint=path, **SMALL)
    content = path.read_bytes()

    def resume(seed=5, samples=gaussian[1], **options):
        pyness.fit_landscape(gaussian[0], samples, seed=seed, checkpoint=path, resume=True, **(SMALL | options))

    for foreign in ({"seed": 6}, {"units": 11}, {"samples": gaussian[1].select(range(500))}):
        with pytest.raises(StoreError, match=r"another training; give its options"):
            resume(**foreign)
    assert path.read_bytes() == content
    for damaged in (content[: len(content) // 2], b"", b"no checkpoint at all"):
        path.write_bytes(damaged)
        with pytest.raises(StoreError, match="damaged or no checkpoint"):
            resume()
        assert path.read_bytes() == damaged
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(StoreError, match="damaged or no checkpoint"):
        resume()
    with pytest.raises(InputError, match="resume without a checkpoint; give checkpoint=PATH"):
        pyness.fit_landscape(*gaussian, resume=True)


def test_two_functions_are_two_trainings(gaussian, tmp_path):
    path, options = tmp_path / "checkpoint.pt", SMALL | {"steps": 1}
    pyness.fit_landscape(*gaussian, seed=5, checkpoint=path, reduce=lambda x: x[..., :1], **options)
    pyness.fit_landscape(*gaussian, seed=5, checkpoint=path, resume=True, reduce=lambda x: 1 * x[..., :1], **options)
    with pytest.raises(StoreError, match="belongs to another training"):
        pyness.fit_landscape(*gaussian, seed=5, checkpoint=path, resume=True, reduce=lambda x: x[..., 1:2], **options)


def test_checkpoint_that_cannot_be_written(gaussian, tmp_path):
    with pytest.raises(StoreError, match="cannot write"):
        pyness.fit_landscape(*gaussian, checkpoint=tmp_path / "missing" / "checkpoint.pt", **SMALL)

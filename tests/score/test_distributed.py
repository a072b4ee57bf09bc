"""Several processes that train one network: the script is that of one, and all end with the same weights."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pyness.score.distributed import backend, own_device


@pytest.mark.parametrize(
    ("device", "size", "rank", "own", "carrier"),
    [
        ("cpu", "2", "1", "cpu", "gloo"),
        ("cuda", "2", "1", "cuda:1", "nccl"),
        ("cuda:0", "2", "1", "cuda:0", "nccl"),
        ("cuda", "1", "0", "cuda", "nccl"),
    ],
)
def test_each_process_has_its_device_and_what_carries_between_them(device, size, rank, own, carrier, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.setenv("LOCAL_RANK", rank)
    found = own_device(device)
    assert str(found) == own
    assert backend(found) == carrier


SCRIPT = """
import sys, torch, pyness
torch.set_num_threads(1)
system = pyness.systems.get("aoup-harmonic")
states = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
samples = pyness.Samples.from_states(system, states)
score = pyness.fit_score(system, samples, steps=4, batch=32, width=8, depth=1, progress=False)
rank = torch.distributed.get_rank()
torch.save(score.network.state_dict(), f"{sys.argv[1]}/{rank}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.validate
def test_two_processes_end_with_one_network(tmp_path):
    import torch

    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*command, str(script), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)

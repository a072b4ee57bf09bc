"""Shared: the command line, Ctrl-C at work, global torch state untouched, Julia and GPU tests skipped with a reason."""

from __future__ import annotations

import signal

import pytest
import torch


def pytest_configure():
    # a shell leaves Ctrl-C ignored in what it starts in the background, and what that starts inherits it
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _torch_state_is_untouched():
    """A test (or the code under it) that changes torch's global state or draws from its global generator fails."""
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())
    generator = torch.get_rng_state()
    yield
    after = (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())
    assert before == after, f"global torch state changed from {before} to {after}"
    assert torch.equal(generator, torch.get_rng_state()), "the global torch generator was used; pass one"


@pytest.fixture
def pyness_(capsys):
    """``pyness_(*argv)``: exit code, standard output, standard error."""

    def call(*argv):
        from pyness.cli import main

        code = main([str(a) for a in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def pytest_collection_modifyitems(config, items):
    gpu = torch.cuda.is_available()
    # by marker, not by keyword: a test's keywords hold the names of its folders too
    asked = [item for item in items if item.get_closest_marker("julia")]
    if asked:
        from pyness.sampling.engines.julia import runtime

        problem = runtime.status()["problem"]
        for item in asked if problem else ():
            item.add_marker(pytest.mark.skip(reason=f"no Julia: {problem}"))
    for item in items:
        if item.get_closest_marker("gpu") and not gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))

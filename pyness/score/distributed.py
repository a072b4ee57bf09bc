"""Several processes that train one network, started by ``torchrun``: the script is the same as for one."""

from __future__ import annotations

import os

import torch
from torch import nn

__all__ = ["average_gradients", "backend", "own_device", "rank_and_size"]


def own_device(device: str | torch.device) -> torch.device:
    """The device of this process: of several that are given ``"cuda"`` each has its own, by its local number."""
    device = torch.device(device)
    if device.type == "cuda" and device.index is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


def backend(device: torch.device) -> str:
    """What carries gradients between processes: by where they are, not by what the machine has."""
    return "nccl" if device.type == "cuda" else "gloo"


def rank_and_size(device: torch.device) -> tuple[int, int]:
    """The number of this process and how many there are; joins them where ``torchrun`` started several.

    Args:
        device: of the training.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not torch.distributed.is_available():
        return 0, 1
    if not torch.distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group(backend(device))
    return torch.distributed.get_rank(), size


def average_gradients(model: nn.Module, size: int) -> None:
    """Give every process the mean gradient."""
    if size == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= size

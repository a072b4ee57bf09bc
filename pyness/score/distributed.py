"""Several processes that train one network, started by ``torchrun``: the script is the same as for one."""

from __future__ import annotations

import os

import torch
from torch import nn

__all__ = ["average_gradients", "rank_and_size"]


def rank_and_size() -> tuple[int, int]:
    """The number of this process and how many there are; joins them where ``torchrun`` started several."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not torch.distributed.is_available():
        return 0, 1
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return torch.distributed.get_rank(), size


def average_gradients(model: nn.Module, size: int) -> None:
    """Give every process the mean gradient."""
    if size == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= size

"""Several processes that train one network: who does which part of a batch, and what they tell each other.

Started by Hugging Face accelerate (`accelerate launch -m pscr.training.train ...`), whose settings choose machines and
GPUs. All pairs of a batch need all its features, so every process passes its own share of the images through the
backbone, the features are gathered, and each process computes the loss of the whole batch. Its gradient for the
features that are its own is then complete; summed over the processes, so are the gradients of the backbone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from ..runtime.errors import PscrError, Status

T = TypeVar("T")
TIMEOUT = timedelta(hours=4)  # the others wait while the first fills a cache of frozen layers


@dataclass(frozen=True)
class Processes:
    """This process among `count`; `rank` 0 writes files and speaks. device: where it computes."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def shard(self, rows: int) -> slice:
        """This process's rows of a batch of `rows`, a multiple of the number of processes."""
        own = rows // self.count
        return slice(self.rank * own, (self.rank + 1) * own)

    def gather(self, own: Tensor) -> Tensor:
        """The rows [n,C] of every process, [count*n,C], in order; gradients flow to this process's own."""
        if self.count == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own.detach().contiguous())
        parts[self.rank] = own
        return torch.cat(parts)

    def reduce_gradients(self, backbone: Sequence[nn.Parameter], head: Sequence[nn.Parameter]) -> None:
        """Sum the backbone's gradients over the processes; average those of the head, which all have in full."""
        if self.count == 1:
            return
        for parameters, divisor in ((backbone, 1), (head, self.count)):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            flat = self.sum(torch.cat([gradient.reshape(-1) for gradient in gradients])) / divisor
            sizes = [gradient.numel() for gradient in gradients]
            for parameter, gradient, part in zip(parameters, gradients, flat.split(sizes), strict=True):
                parameter.grad = gradient.copy_(part.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return flag if self.count == 1 else bool(self.sum(torch.tensor(float(flag), device=self.device)))

    def broadcast(self, value: T) -> T:
        """What the first process has as `value`."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=self.device)
        return box[0]

    def barrier(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            self.sum(torch.zeros(1, device=self.device))


def start(device: str = "auto") -> Processes:
    """Join the processes that accelerate started, or be the only one.

    device: auto (a GPU where torch has one), cpu, cuda or cuda:N; with several processes each takes its own GPU.

    Raises:
        PscrError: DEVICE_UNAVAILABLE where torch cannot use that device, INVALID_ARGUMENT for another name.
    """
    kind = device.partition(":")[0]
    if kind not in ("auto", "cpu", "cuda"):
        raise PscrError(Status.INVALID_ARGUMENT, f"device is {device!r}; expected auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise PscrError(
            Status.DEVICE_UNAVAILABLE,
            f"this torch {torch.__version__} can use no CUDA device; install a CUDA build and a driver, or use cpu",
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState  # not at the top: one process alone needs no accelerate

        state = PartialState(cpu=kind == "cpu" or not torch.cuda.is_available(), timeout=TIMEOUT)
        return Processes(state.device, state.process_index, state.num_processes)
    if kind == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
        if found.type == "cuda":
            torch.cuda.set_device(found)
    except RuntimeError as error:
        raise PscrError(
            Status.DEVICE_UNAVAILABLE, f"{device}: {error}; there are {torch.cuda.device_count()}"
        ) from error
    return Processes(found)

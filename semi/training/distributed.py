"""A training on many processes: DDP by default, FSDP2 for a frozen language model that one device cannot hold.

`accelerate` finds the devices and starts the process group from what torchrun or `accelerate launch` have put into the
environment. What is trained is small and whole on every process, under DDP.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from semi.artifacts import Checkpoint
from semi.errors import InputError, OutputError, SemiError
from semi.language_model import LanguageModel
from semi.training.processes import BatchLoss, Processes

PATIENCE = timedelta(hours=1)
"""How long a process waits for the others, of which the first may be embedding captions, before it gives up."""


@contextmanager
def joined(*, fsdp: bool = False) -> Iterator[Processes]:
    """The processes of this training: those that torchrun or `accelerate launch` started, or this one alone.

    Args:
        fsdp: shard the frozen language model over them.

    Raises:
        InputError: `fsdp` with a single process, or `accelerate launch` was given what `semi` does itself.
        SemiError: another process has ended; this one cannot go on.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        if fsdp:
            raise InputError(
                "there is one process, and nothing to shard the language model over",
                got="--fsdp",
                do="add --launch N, or start it with torchrun",
            )
        yield Processes()
        return
    team = Team(fsdp=fsdp)
    try:
        yield team
        team.wait()
    except RuntimeError as error:
        if not _lost(error):
            raise
        raise SemiError(
            f"process {team.number} of {team.count} lost the others: one of them has ended",
            do="see what ended it, then run the same command again; it goes on from the last checkpoint",
        ) from error
    team.leave()


class Team(Processes):
    """One of many processes.

    Args:
        fsdp: whether each holds a part of the frozen language model only.
    """

    def __init__(self, *, fsdp: bool) -> None:
        from accelerate import Accelerator, InitProcessGroupKwargs

        _refuse_settings_of_accelerate()
        self._accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),  # without being told, it would not see the other processes
            mixed_precision="no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self._fsdp = fsdp
        self.number, self.count = self._accelerator.process_index, self._accelerator.num_processes

    def total(self, values: Tensor) -> Tensor:
        summed = values.detach().clone()
        distributed.all_reduce(summed)
        return summed

    def parallel(self, module: nn.Module, batch_loss: BatchLoss) -> BatchLoss:
        prepared: BatchLoss = self._accelerator.prepare_model(_Loss(module, batch_loss))
        return prepared

    def holding(self, loss: BatchLoss, *, last: bool) -> AbstractContextManager[None]:
        held: AbstractContextManager[None] = nullcontext() if last else self._accelerator.no_sync(loss)
        return held

    def language_model(self, load: Callable[[torch.device | None], LanguageModel]) -> LanguageModel:
        if not self._fsdp:
            with self.in_turn():
                return load(None)
        from semi.training.sharding import shard

        for turn in range(int(os.environ["LOCAL_WORLD_SIZE"])):  # a machine holds one whole model at a time
            if turn == self._accelerator.local_process_index:
                loaded = load(torch.device("cpu"))
                shard(loaded, self._accelerator.device)
            self.wait()
        return loaded

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        with self._accelerator.local_main_process_first():
            yield

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()

    def tell(self, path: Path | None) -> Path:
        told: list[Any] = [path]
        distributed.broadcast_object_list(told, src=0)
        first: Path = told[0]
        return first

    def require_same(self, checkpoint: Checkpoint | None, step: int) -> None:
        found = torch.zeros(self.count, dtype=torch.int64, device=self._accelerator.device)
        found[self.number] = step
        steps = self.total(found).tolist()
        if checkpoint and len(set(steps)) > 1:
            raise OutputError(
                f"the processes do not find the same checkpoint in {checkpoint.path.parent}",
                got=f"steps {', '.join(map(str, steps))}",
                do="put --out on a file system that all machines share",
            )

    def leave(self) -> None:
        """End the process group."""
        self._accelerator.end_training()


class _Loss(nn.Module):
    """The parameters to train, with the loss as the forward that DDP stands around."""

    def __init__(self, module: nn.Module, batch_loss: BatchLoss) -> None:
        super().__init__()
        # Not the module: its buffers never change, and DDP would send them in every forward.
        self.trained = nn.ParameterList(p for p in module.parameters() if p.requires_grad)
        self._batch_loss = batch_loss

    def forward(self, generator: torch.Generator) -> Tensor:
        return self._batch_loss(generator)


def _refuse_settings_of_accelerate() -> None:
    """What `accelerate launch` would do to a model that it prepares, and what semi has its own ways for."""
    told = {
        "ACCELERATE_USE_FSDP": "semi train --fsdp",
        "ACCELERATE_USE_DEEPSPEED": "semi train --fsdp",
        "ACCELERATE_MIXED_PRECISION": "mixed_precision: bf16 in the recipe",
    }
    for name, instead in told.items():
        value = os.environ.get(name, "no")
        if value.lower() not in ("no", "false", "0"):
            raise InputError(
                "accelerate is set up for what semi does itself", got=f"{name}={value}", do=f"use {instead} instead"
            )


def _lost(error: RuntimeError) -> bool:
    """Whether the connection to another process broke: the backends' own errors, of which gloo's have no type."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)

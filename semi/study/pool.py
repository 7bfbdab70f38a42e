"""Jobs of a study in processes of their own, which end when the study does, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from semi.errors import SemiError

J = TypeVar("J")
R = TypeVar("R")


def in_processes(
    work: Callable[[J], R], jobs: Sequence[J], *, processes: int, threads: int | None = None
) -> Iterator[R]:
    """What `work` makes of each job, in the order in which they end.

    Args:
        work: a function of a module; what it raises ends the study.
        processes: 0: in this process, with the threads it has.
        threads: of torch in each process; None: the machine's cores shared out evenly.

    Raises:
        SemiError: a process was killed, as the operating system does where memory is short.
    """
    if processes == 0 or not jobs:
        yield from map(work, jobs)
        return
    count = min(processes, len(jobs))
    share = threads or max(1, (os.cpu_count() or 1) // count)
    # Spawned, not forked: a fork of a process whose libraries hold locks in other threads can stand still for ever.
    context = multiprocessing.get_context("spawn")
    before = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(share,))
    try:
        for future in as_completed([executor.submit(work, job) for job in jobs]):
            yield future.result()
    except BrokenProcessPool as error:
        raise SemiError(
            "a process of the study ended before its work was done",
            got="most likely it was killed because memory was short",
            do="run the same command again, it goes on where it was; with fewer --processes",
        ) from error
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()  # idle, or at a job whose result nobody will read


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the study's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _end_with_parent() -> None:
    """Nobody else ends a process whose parent was killed: it would wait for work, with a language model in memory."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

"""Several processes of one machine for a training: torchrun's elastic launcher, by its API."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from semi import errors
from semi.errors import SemiError


def launch(count: int, work: Callable[..., Any], *arguments: object) -> Any:
    """Run `work(*arguments)` in `count` processes that find each other, and give what the first of them returns.

    Args:
        work: of a module, for it is imported anew in each process; so are the arguments, which are pickled.

    Raises:
        SemiError: a process failed or was killed, which ends the others. An error of semi's keeps its kind.
        KeyboardInterrupt: the launcher was interrupted.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id="semi",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",  # a free port
        local_addr="localhost",
        max_restarts=0,
    )
    handled = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        returned: dict[int, Any] = elastic_launch(config, _call)(work, *arguments)
    except ChildFailedError as error:
        raise _told(error.failures, count) from error
    except SignalException as error:
        raise KeyboardInterrupt from error
    finally:
        for number, handler in handled.items():  # the launcher leaves its own behind
            signal.signal(number, handler)
    return returned[0]


def _call(work: Callable[..., Any], *arguments: object) -> Any:
    """The launcher asks for the name of what it runs, which not everything that can be called has."""
    return work(*arguments)


def _told(failures: dict[int, Any], count: int) -> SemiError:
    """What ended it: a process that was killed from outside, or else the first one that failed."""
    killed = {
        rank: failure for rank, failure in failures.items() if failure.exitcode < 0 and failure.exitcode != -15
    }  # SIGTERM is how the launcher ends the others
    rank, failure = min((killed or failures).items(), key=lambda item: int(item[1].timestamp))
    if failure.exitcode < 0:
        return SemiError(
            f"process {rank} of {count} was killed",
            got=failure.signal_name(),
            do="run the same command again, or with another --launch; it goes on from the last checkpoint",
        )
    told = failure.message if isinstance(failure.message, str) else str(failure.message["message"])
    name, _, text = told.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, SemiError):
        return kind(text)
    return SemiError(f"process {rank} of {count} failed", got=told.splitlines()[0])

"""Processes that measure end with the study, and a study ends with an error where one of them dies."""

from __future__ import annotations

import math
import multiprocessing
import os
import time

import pytest

from semi.errors import InputError, SemiError
from semi.study.pool import in_processes


def refuse(job: int) -> int:
    raise InputError("this job is refused", got=job, do="nothing")


def test_every_job_is_done_once_in_processes_and_without() -> None:
    jobs = [float(i) for i in range(9)]
    for processes in (0, 2):
        assert sorted(in_processes(math.sqrt, jobs, processes=processes, threads=1)) == [math.sqrt(j) for j in jobs]
    assert list(in_processes(math.sqrt, [], processes=2)) == []


def test_what_a_job_raises_ends_the_study_and_its_processes() -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(InputError, match="this job is refused") as error:
        list(in_processes(refuse, [1, 2], processes=1))
    assert (error.value.got, error.value.do) == (1, "nothing")
    # Asked of the system: where the executor's thread has waited for a process already, Process.is_alive cannot tell.
    pids = [child.pid for child in set(multiprocessing.active_children()) - before if child.pid]
    until = time.monotonic() + 60
    while any(map(runs, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert not any(map(runs, pids))


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(SemiError, match="ended before its work") as error:
        list(in_processes(os._exit, [1, 1], processes=1))
    assert "--processes" in str(error.value)

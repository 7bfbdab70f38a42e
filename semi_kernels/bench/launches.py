"""How many kernels a call launches."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile


def launched(call: Callable[[], object]) -> list[str]:
    """Names of the kernels that a call launches on the GPU, after a call that compiles and checks."""
    call()
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the profiler speaks of its own initialisation
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            call()
            torch.cuda.synchronize()
    on_gpu = (event for event in seen.events() if event.device_type == DeviceType.CUDA)
    return [event.name for event in on_gpu if not event.name.startswith(("Memcpy", "Memset"))]

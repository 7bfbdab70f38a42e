"""For all tests: of semi, of its kernels and of the plugins in this repository."""

from __future__ import annotations

import os

# Without a GPU, kernels are run by Triton's interpreter, which must be chosen before the first import of triton.
os.environ.setdefault("TRITON_INTERPRET", "1")

import torch
from hypothesis import settings

# The same on a laptop and a server; some sums depend on how many threads share them.
torch.set_num_threads(2)

# No test is about time: on a busy machine any example can take long.
settings.register_profile("semi", deadline=None)
settings.load_profile("semi")

"""For all tests: of semi, of its kernels and of the plugins in this repository."""

from __future__ import annotations

import torch

# The same on a laptop and a server; some sums depend on how many threads share them.
torch.set_num_threads(2)

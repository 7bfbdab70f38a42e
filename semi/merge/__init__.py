"""Training-free merging of fine-tuned models that share a base (MMER, arXiv 2505.17110), streamed from their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semi.merge.runtime import DecoupledModel

__all__ = ["DecoupledModel"]


def __getattr__(name: str) -> object:
    if name != "DecoupledModel":
        raise AttributeError(f"module 'semi.merge' has no attribute {name!r}")
    from semi.merge.runtime import DecoupledModel  # torch takes seconds to import; a configuration is checked without

    globals()[name] = DecoupledModel
    return DecoupledModel

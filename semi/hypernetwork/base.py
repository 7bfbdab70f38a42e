"""The interface of hypernetworks: a support set in, a projector's adapter out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.alignment import Alignment
from semi.ridge import Ridge


class HyperNetwork(nn.Module):
    """Support set -> adapter (SEMI section 3.2)."""

    kind: ClassVar[str]
    mean_of: ClassVar[Literal["factors", "products"]] = "factors"
    """How adapters from several support subsets are averaged (ProjectorAdapter.mean)."""
    most_pairs: int | None = None
    """The largest support set it can read at once, if there is a limit."""
    settings: dict[str, Any]
    """JSON-able constructor arguments that rebuild it (the frozen projector is handed in beside them)."""

    @abstractmethod
    def align(self, samples: Tensor, texts: Tensor) -> Alignment:
        """The alignment this architecture wants, fitted to a support set.

        Args:
            samples: embeddings (n, d_enc) of any width.
            texts: caption embeddings (n, d_text).
        """

    @abstractmethod
    def forward(self, samples: Tensor, texts: Tensor, instruction: Tensor) -> ProjectorAdapter:
        """The adapter.

        Args:
            samples: aligned embeddings (n, d).
            texts: caption embeddings (n, d_text).
            instruction: embedding of the instruction (1, d_text).
        """

    def predictor(self, samples: Tensor, texts: Tensor, instruction: Tensor) -> Ridge | None:
        """What stands behind the adapter, for an architecture that predicts caption embeddings; None for the others.

        Its predictions through the shared projector are what the adapter computes. Arguments as for `forward`.
        """
        return None

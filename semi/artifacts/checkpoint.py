"""The one file from which an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semi.artifacts.tensors import load_tensors, read_metadata, save_tensors
from semi.errors import ArtifactError

if TYPE_CHECKING:
    from torch import Tensor

CHECKPOINT = "checkpoint.safetensors"
_KEY = "semi"


class Checkpoint:
    """Step, tensors and state of a run in `folder`: one file, replaced atomically, never torn and never mixed."""

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder) / CHECKPOINT

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            step: how many steps are done.
            tensors: weights, optimiser moments, random state (uint8), ...; by name.
            state: JSON-able. Infinity is allowed, e.g. for a best loss that is yet to come.

        Raises:
            OutputError: it could not be written; the previous checkpoint is still there.
        """
        save_tensors(self.path, tensors, {_KEY: json.dumps({"step": step, "state": state}, sort_keys=True)})

    def load(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """(step, tensors, state) of the last `save`, or None where there is none.

        Raises:
            ArtifactError: the file is damaged or is no checkpoint.
        """
        if not self.path.exists():
            return None
        tensors = load_tensors(self.path)
        try:
            record = json.loads(read_metadata(self.path)[_KEY])
            step, state = record["step"], record["state"]
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{self.path} is not a checkpoint of semi", do="start the run afresh with --force"
            ) from error
        return int(step), tensors, dict(state)

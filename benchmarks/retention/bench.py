"""One language model in memory for all that is compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from benchmarks.retention.models import COMPUTE, CONNECTOR, Connector, load_language, reader_of
from benchmarks.retention.scoring import loss, score
from benchmarks.retention.tasks import Example, Part
from benchmarks.retention.variants import UNCHANGED, Change, Variant, restored
from semi.language_model import LanguageModel
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.config import MergeConfig
from semi.merge.inventory import Block, Inventory

Data = Mapping[str, Mapping[Part, Sequence[Example]]]

PROMPTS = 64
"""As many as `mask.prompts` may have."""


class Bench:
    """A language model in memory that takes the weights of the base, of fine-tunes and of what merges give back.

    It reads and writes in one dtype, whatever is stored: the same for all that is compared.

    Args:
        base: folder of the base.
        models: folders of the fine-tunes by task.
        data: examples by task.
    """

    def __init__(self, base: Path, models: Mapping[str, Path], data: Data, dtype: torch.dtype = COMPUTE) -> None:
        self.base_folder, self.folders, self.data = base, dict(models), data
        self._language, self._tokenizer = load_language(base, dtype)
        self._language.requires_grad_(False).train(False)
        self._open = ExitStack()
        self.base = self._open.enter_context(Checkpoint.open(base))
        self.models = {name: self._open.enter_context(Checkpoint.open(folder)) for name, folder in models.items()}
        self.connectors = {name: Connector.read(model) for name, model in self.models.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def score(self, checkpoint: Checkpoint, task: str) -> dict[str, Any]:
        """A checkpoint on the split `test`; see `benchmarks.retention.scoring.score`."""
        return score(self.load(checkpoint), self.connectors[task], self.data[task]["test"])

    def score_restored(
        self, artifact: Artifact, task: str, change: Change = UNCHANGED, inventory: Inventory | None = None
    ) -> dict[str, Any]:
        """What a merge gives back, on the split `test`, and the change."""
        reader = self.restore(artifact, task, change, inventory)
        found = score(reader, self.connectors[task], self.data[task]["test"])
        return found | {"alpha": change.alpha, "lambda": change.lambda_}

    def loss_restored(
        self, artifact: Artifact, task: str, change: Change, inventory: Inventory | None = None
    ) -> dict[str, Any]:
        """The "loss" of what a merge gives back, on the split `choose`."""
        reader = self.restore(artifact, task, change, inventory)
        return {"loss": loss(reader, self.connectors[task], self.data[task]["choose"])}

    def load(self, checkpoint: Checkpoint) -> LanguageModel:
        """The language model with a checkpoint's weights."""
        return self._with((key, None, checkpoint.read(key)) for key in self.base.keys)

    def restore(
        self, artifact: Artifact, model: str, change: Change = UNCHANGED, inventory: Inventory | None = None
    ) -> LanguageModel:
        """The language model with what a merge gives back; see `benchmarks.retention.variants.restored`."""
        exact = artifact.exact(model)
        for entry in artifact.of("exact"):
            self._put(entry.key, None, (exact if entry.key in exact.keys else self.base).read(entry.key))
        return self._with(restored(artifact, self.base, model, change, inventory))

    def config(self, tasks: Sequence[str], variant: Variant, prompts: Path) -> MergeConfig:
        """The merge of some of the models.

        Args:
            tasks: whose models.
            variant: how.
            prompts: where questions are written to, if lambda is to be found by them.
        """
        models = [{"name": task, "path": str(self.folders[task]), "keep": [CONNECTOR]} for task in tasks]
        mask = dict(variant.mask)
        if variant.label_free:
            prompts.parent.mkdir(parents=True, exist_ok=True)
            prompts.write_text("\n".join(self._questions(tasks)), encoding="utf-8")
            mask |= {"lambda": "auto", "prompts": str(prompts)}
        settings = {"base_model": str(self.base_folder), "models": models, "merge": dict(variant.merge), "mask": mask}
        return MergeConfig.model_validate(settings)

    def _questions(self, tasks: Sequence[str]) -> list[str]:
        """Different questions of the split `choose`, without samples and answers."""
        together = zip(*(self.data[task]["choose"] for task in tasks), strict=False)  # one of each task in turn
        asked = dict.fromkeys(example.instruction for row in together for example in row)
        return list(asked)[:PROMPTS]

    def _with(self, tensors: Iterable[tuple[str, Block | None, Tensor]]) -> LanguageModel:
        for key, block, rows in tensors:
            self._put(key, block, rows)
        return reader_of(self._language, self._tokenizer)

    def _put(self, key: str, block: Block | None, rows: Tensor) -> None:
        own = self._language.get_parameter(key).data.view(-1, rows.shape[1])
        (own if block is None else own[block.start : block.stop]).copy_(rows)

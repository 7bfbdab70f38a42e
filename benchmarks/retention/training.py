"""Fine-tuning of one model on one task, in two stages as multimodal models are made: its connector, then both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.retention.models import COMPUTE, Connector, Multimodal, load_language
from benchmarks.retention.tasks import Example, embeddings
from semi.artifacts import open_output
from semi.artifacts.manifest import MANIFEST
from semi.language_model import LanguageModel
from semi.training.loop import Advance, History, Schedule, train

KIND = "fine-tune"
BASE = "base"


@dataclass(frozen=True)
class Recipe:
    """Constants of the fine-tuning, the same for all tasks.

    Attributes:
        batch: examples a step.
        aligning: steps of the connector alone.
        tuning: steps of the language model's matrices but the embeddings, and of the connector.
        align_lr, tune_lr: peak learning rates of AdamW.
    """

    batch: int = 16
    aligning: int = 100
    tuning: int = 300
    align_lr: float = 1e-3
    tune_lr: float = 1e-4
    save_every: int = 50


CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""SmolLM2's chat template without the system prompt that it begins with, which is half of such short questions."""


def write_base(folder: Path, name: str) -> Path:
    """The base, in float32 as the fine-tunes will be: rounding them to bf16 would be a part of what is merged."""
    if not (folder / MANIFEST).is_file():
        with open_output(folder, kind=BASE, config={"name": name}) as out:
            model = LanguageModel.load(name, precision="fp32", device="cpu")
            model.tokenizer.chat_template = CHAT
            files = Multimodal(model.model, model.tokenizer, None).save(out.path)
            out.finish(files, model.source())
    return folder


def fine_tune(
    base: Path,
    examples: Sequence[Example],
    out: Path,
    *,
    task: str,
    seed: int,
    recipe: Recipe,
    advance: Advance = lambda step, note: None,
) -> dict[str, Any]:
    """Fine-tune the base on examples into `out`; goes on where it was killed.

    Weights, gradients and moments are float32, products of `COMPUTE`.

    Returns:
        Losses: of each stage {"first", "last"}, means of ten steps.

    Raises:
        OutputError: `out` is complete, or of another recipe.
    """
    config = {"task": task, "seed": seed, "base": str(base), **asdict(recipe)}
    with open_output(out, kind=KIND, config=config) as folder:
        model = _fresh(base, examples, seed)
        losses = {}
        if model.connector is not None:
            model.connector.requires_grad_(True)
            schedule = Schedule(recipe.aligning, recipe.align_lr, warmup=20, save_every=recipe.save_every, seed=seed)
            losses["aligning"] = _train(model, examples, schedule, recipe.batch, folder.path / "aligning", advance)
        for parameter in tuned(model.language):
            parameter.requires_grad_(True)
        schedule = Schedule(recipe.tuning, recipe.tune_lr, warmup=20, save_every=recipe.save_every, seed=seed + 1000)
        losses["tuning"] = _train(model, examples, schedule, recipe.batch, folder.path / "tuning", advance)
        info = config | {"losses": losses}
        folder.finish(model.save(folder.path), info)
    return losses


def tuned(language: Any) -> list[nn.Parameter]:
    """What is fine-tuned: matrices, but for the embeddings and the head, which is tied to them."""
    left = {id(language.get_input_embeddings().weight), id(language.get_output_embeddings().weight)}
    return [parameter for parameter in language.parameters() if parameter.ndim == 2 and id(parameter) not in left]


def _fresh(base: Path, examples: Sequence[Example], seed: int) -> Multimodal:
    language, tokenizer = load_language(base, torch.float32)
    x = embeddings(examples)
    connector = None
    if x is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            connector = Connector(x.shape[1], language.get_input_embeddings().weight.shape[1])
        connector.fit(x)
    return Multimodal(language, tokenizer, connector)


def _train(
    model: Multimodal, examples: Sequence[Example], schedule: Schedule, batch: int, folder: Path, advance: Advance
) -> dict[str, float]:
    def loss(generator: torch.Generator) -> Tensor:
        picks = torch.randint(len(examples), (batch,), generator=generator).tolist()
        with torch.autocast("cpu", torch.bfloat16, enabled=COMPUTE is torch.bfloat16):
            return model.loss([examples[i] for i in picks])

    folder.mkdir(exist_ok=True)
    history = train(model, loss, schedule, folder=folder, advance=advance)
    return ends(history)


def ends(history: History, steps: int = 10) -> dict[str, float]:
    """Mean losses of the first and of the last steps."""
    losses = [row["loss"] for row in history.steps]
    first, last = losses[:steps], losses[-steps:]
    return {"first": sum(first) / len(first), "last": sum(last) / len(last)}

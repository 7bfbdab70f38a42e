"""From a configuration file to a finished folder: what `semi train` does."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semi.artifacts import (
    OutputFolder,
    config_hash,
    load_module,
    open_output,
    read_json,
    read_manifest,
    rebuilding,
    require_same,
    sha256_of,
    write_bytes,
    write_json,
)
from semi.assets import cache_dir
from semi.encoding import KIND as ENCODED
from semi.errors import ArtifactError
from semi.foundation import Foundation, FoundationConfig
from semi.hub import find_foundation
from semi.hypernetwork import HyperNetwork, build
from semi.language_model import LanguageModel
from semi.plugins import load_modality
from semi.projector import Projector
from semi.text_space import TextSpace
from semi.training.config import HyperNetworkConfig, ProjectorConfig, SourceConfig
from semi.training.hypernetwork import train_hypernetwork
from semi.training.loop import History
from semi.training.processes import ALONE, Processes
from semi.training.projector import WEIGHTS, train_projector, validation_losses
from semi.training.sources import load_families, require_enough
from semi.yaml_config import read_config

Advance = Callable[[int, str], None]
PROJECTOR = "projector"


def run_projector(
    path: Path,
    out: Path,
    *,
    changes: Sequence[str] = (),
    force: bool = False,
    advance: Advance = lambda step, note: None,
    processes: Processes = ALONE,
) -> History:
    """Train the shared projector of a YAML file into `out` (projector.safetensors, projector.json, metrics, curve).

    Args:
        changes: of the file's settings, see `read_config`.
        processes: that train together, see `semi.training.distributed.joined`.
    """
    config = read_config(path, ProjectorConfig, changes)
    inputs = _inputs(config.sources)
    if config.start:
        read_manifest(config.start, PROJECTOR)
        inputs["start"] = sha256_of(config.start / WEIGHTS)
    load = partial(LanguageModel.load, config.language_model, precision=config.precision)
    language_model = processes.language_model(lambda device: load(device=device))
    encoder = load_modality(config.text_encoder).encoder()
    space = TextSpace(encoder, language_model if config.words else None)
    settings = config.model_dump(mode="json") | {"inputs": inputs, "language_model": language_model.source()}
    with _claimed(out, PROJECTOR, settings, processes, force=force) as (folder, output):
        with processes.in_turn():
            families = load_families(config.sources, space, _captions(), advance)
        projector, history = train_projector(
            config, families, language_model, space.width, folder, advance=advance, processes=processes
        )
        described = {
            "language_model": language_model.source(),
            "text_encoder": {"modality": config.text_encoder, "id": encoder.id},
            "words": config.words,
            "projector": projector.sizes,
        }
        losses = validation_losses(projector, families, language_model, config.examples, processes)
        processes.wait()  # the manifest says that all of them came to the end
        if output:
            write_json(folder / "projector.json", described)
            _finish(output, history, [WEIGHTS, "projector.json"], {"config": settings, "losses": losses})
    return history


def run_hypernetwork(
    path: Path,
    out: Path,
    *,
    changes: Sequence[str] = (),
    force: bool = False,
    advance: Advance = lambda step, note: None,
    processes: Processes = ALONE,
) -> History:
    """Train the hypernetwork of a YAML file; `out` becomes a complete foundation. Arguments as for `run_projector`."""
    config = read_config(path, HyperNetworkConfig, changes)
    inputs = _inputs(config.sources)
    if config.projector:
        base, described_in, kind = config.projector, "projector.json", PROJECTOR
    else:
        assert config.beside  # or the configuration is refused
        base, described_in, kind = find_foundation(config.beside), Foundation.FILES[0], Foundation.KIND
    read_manifest(base, kind)
    described = read_json(base / described_in)
    with rebuilding(base / described_in, kind):
        source, text_encoder = described["language_model"], described["text_encoder"]
        model_id, precision, model_sha256 = source["id"], source["precision"], source["sha256"]
        modality, encoder_id = text_encoder["modality"], text_encoder["id"]
        words = described.get("words", False)
        projector = Projector(**described["projector"])
    load_module(projector, base / WEIGHTS)
    inputs["projector"] = sha256_of(base / WEIGHTS)
    encoder = load_modality(modality).encoder()
    require_same(base, "text encoder", encoder.id, encoder_id)
    load = partial(LanguageModel.load, model_id, precision=precision)
    language_model = processes.language_model(lambda device: load(device=device))
    require_same(base, "language model: its files differ", language_model.sha256, model_sha256)
    space = TextSpace(encoder, language_model if words else None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        hypernetwork = build(config.kind, config.settings, projector)
    kept: dict[str, HyperNetwork] = {}
    if config.beside:
        kept = _beside(config.beside, projector)
        inputs["beside"] = config_hash(read_manifest(find_foundation(config.beside), Foundation.KIND)["files"])
    settings = config.model_dump(mode="json") | {"inputs": inputs}
    with _claimed(out, Foundation.KIND, settings, processes, force=force) as (folder, output):
        with processes.in_turn():
            families = load_families(config.sources, space, _captions(), advance)
        known: dict[str, Tensor] = {}

        def instruction(text: str) -> Tensor:
            if text not in known:
                known[text] = torch.from_numpy(space.encode([text])).to(language_model.device)
            return known[text]

        history = train_hypernetwork(
            config,
            families,
            hypernetwork,
            projector,
            language_model,
            instruction,
            folder,
            advance=advance,
            processes=processes,
        )
        processes.wait()
        if output:
            every = kept | {config.kind: hypernetwork}
            described = FoundationConfig(language_model.source(), text_encoder, words)
            foundation = Foundation(described, language_model, encoder, projector, *every.values())
            _finish(output, history, foundation.write(folder), {"config": settings})
    return history


def draw_curve(history: History, path: Path) -> bool:
    """The loss curve as PNG; False where matplotlib (extra `plot`) is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="caption loss (nats per token)")
    losses = [row["loss"] for row in history.steps]
    width = max(1, len(losses) // 100)
    smooth = [sum(losses[max(0, i - width + 1) : i + 1]) / min(i + 1, width) for i in range(len(losses))]
    axes.plot([row["step"] for row in history.steps], smooth, label="training", linewidth=1)
    if history.validations:
        seen = history.validations
        axes.plot([v["step"] for v in seen], [v["loss"] for v in seen], "o-", label="validation", markersize=3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, dpi=120, metadata={"Software": None})
    write_bytes(path, picture.getvalue())
    return True


@contextmanager
def _claimed(
    out: Path, kind: str, config: dict[str, Any], processes: Processes, *, force: bool
) -> Iterator[tuple[Path, OutputFolder | None]]:
    """Where the run works, and for the first process the claimed folder, which is its own to finish."""
    if not processes.first:
        yield processes.tell(None), None
        return
    with open_output(out, kind=kind, config=config, force=force) as output:
        yield processes.tell(output.path), output


def _finish(output: OutputFolder, history: History, files: Sequence[str], info: dict[str, Any]) -> None:
    drawn = ["curve.png"] if draw_curve(history, output.path / "curve.png") else []
    output.finish([*files, "metrics.jsonl", *drawn], info | {"best": history.best, "steps": len(history.steps)})


def _beside(folder: Path, projector: Projector) -> dict[str, HyperNetwork]:
    """The hypernetworks of a foundation on the same projector."""
    there = Foundation.load(folder)
    saved, own = there.projector.state_dict(), projector.state_dict()
    same = there.projector.sizes == projector.sizes
    if not same or not all(torch.equal(t.bfloat16(), own[name].bfloat16()) for name, t in saved.items()):
        raise ArtifactError(
            f"the foundation {folder} is on another projector", do="name one that was trained on this `projector`"
        )
    return there.hypernetworks


def _captions() -> Path:
    """Where caption embeddings are kept, by what they are of; both trainings and their reruns share them."""
    folder = cache_dir() / "captions"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _inputs(sources: Sequence[SourceConfig]) -> dict[str, str]:
    """Hash of every encoded folder, checked before any work."""
    hashes = {}
    for folder in [folder for source in sources for folder in source.folders]:
        manifest = read_manifest(folder, ENCODED)
        with rebuilding(folder / "manifest.json", "set of embeddings"):
            n = int(manifest["info"]["n"])
            hashes[str(folder)] = config_hash([manifest["info"], manifest["files"]])  # pairs, encoder and embeddings
        require_enough(folder, n)
    return hashes

"""Damaged, foreign or unfit folders, language models and checkpoints: refused by name, and nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from semi.artifacts import write_manifest

Refused = Callable[..., str]
Harm = Callable[[Path], object]
GOOD = json.dumps([0.5] * 10)


def cut(name: str, size: int = -40) -> Harm:
    """Damage: the end of a file is lost."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def flip(name: str) -> Harm:
    """Damage: one bit of a file, its size unchanged."""

    def harm(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(bytes(data))

    return harm


def write(name: str, content: bytes) -> Harm:
    return lambda folder: (folder / name).write_bytes(content)


def gone(name: str) -> Harm:
    return lambda folder: (folder / name).unlink()


def settle(name: str, change: Callable[[dict], dict], *, sign: bool = True) -> Harm:
    """Other JSON, by default under a manifest that fits it: what only strict reading can notice."""

    def harm(folder: Path) -> None:
        (folder / name).write_text(json.dumps(change(json.loads((folder / name).read_text()))))
        if sign:
            signed(folder)

    return harm


def retensor(name: str, change: Callable[[dict], dict]) -> Harm:
    """Other tensors under a manifest that fits them."""

    def harm(folder: Path) -> None:
        save_file(change(load_file(folder / name)), folder / name)
        signed(folder)

    return harm


def signed(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    write_manifest(folder, kind=manifest["kind"], files=list(manifest["files"]), info=manifest["info"])


WEIGHT = "projector.layers.0.weight"
INTEGRATION: dict[str, tuple[Harm, tuple[str, ...]]] = {
    "no manifest": (gone("manifest.json"), ("integration is incomplete",)),
    "unreadable manifest": (write("manifest.json", b"{"), ("manifest.json is not JSON",)),
    "manifest not UTF-8": (write("manifest.json", b'{"kind": "\xff"}'), ("manifest.json is not JSON",)),
    "manifest of others": (write("manifest.json", b"[1]"), ("manifest.json is not a manifest",)),
    "other format": (
        settle("manifest.json", lambda m: m | {"format_version": 9}, sign=False),
        ("manifest.json has another format", "version 9", "version 1"),
    ),
    "wrong hash": (flip("integration.safetensors"), ("integration.safetensors has another sha256",)),
    "truncated": (cut("integration.safetensors"), ("integration.safetensors has another size",)),
    "missing file": (gone("integration.safetensors"), ("integration.safetensors is missing",)),
    "edited": (settle("integration.json", lambda d: d | {"modality": "text"}, sign=False), ("integration.json has",)),
    "truncated and signed": (
        lambda f: (cut("integration.safetensors")(f), signed(f)),
        ("integration.safetensors is not a whole safetensors file",),
    ),
    "other shape": (
        retensor("integration.safetensors", lambda t: t | {WEIGHT: torch.zeros(3, 3)}),
        (f"integration.safetensors: tensor '{WEIGHT}' does not fit", "(3, 3)"),
    ),
    "missing tensor": (
        retensor("integration.safetensors", lambda t: {k: v for k, v in t.items() if k != WEIGHT}),
        ("integration.safetensors has other tensors", f"lacks {WEIGHT}"),
    ),
    "unknown tensor": (
        retensor("integration.safetensors", lambda t: t | {"extra": torch.zeros(1)}),
        ("integration.safetensors has other tensors", "has extra"),
    ),
    "NaN": (
        retensor("integration.safetensors", lambda t: t | {WEIGHT: t[WEIGHT] * float("nan")}),
        (f"tensor '{WEIGHT}' holds NaN",),
    ),
    "no modality": (
        settle("integration.json", lambda d: {k: v for k, v in d.items() if k != "modality"}),
        ("integration.json does not describe", "no 'modality'"),
    ),
    "absurd size": (
        settle("integration.json", lambda d: d | {"projector": d["projector"] | {"d_in": -1}}),
        ("integration.json does not describe",),
    ),
    "unknown alignment": (
        settle("integration.json", lambda d: d | {"alignment": d["alignment"] | {"kind": "magic"}}),
        ("integration.json does not describe", "magic"),
    ),
    "other modality": (settle("integration.json", lambda d: d | {"modality": "vektors"}), ("unknown modality",)),
    "other encoder": (
        settle("integration.json", lambda d: d | {"encoder": d["encoder"] | {"id": "x@2"}}),
        ("was made with another encoder", "x@2"),
    ),
    "other language model": (
        settle("integration.json", lambda d: d | {"language_model": d["language_model"] | {"sha256": "0"}}),
        ("was made with another language model",),
    ),
    "lost language model": (
        settle("integration.json", lambda d: d | {"language_model": d["language_model"] | {"id": "/gone/lm"}}),
        ("no language model folder /gone/lm",),
    ),
}


@pytest.mark.parametrize("verb", ["describe", "eval", "chat"])
@pytest.mark.parametrize("problem", INTEGRATION)
def test_a_bad_integration_is_refused(
    problem: str, verb: str, toy_integration: Path, tiny_text: str, pairs_file: Callable, work: Path, refused: Refused
) -> None:
    folder = shutil.copytree(toy_integration, work / "integration")
    harm, says = INTEGRATION[problem]
    harm(folder)
    rest = ["--pairs", pairs_file()] if verb == "eval" else [GOOD]
    refused(verb, folder, *rest, says=says)


@pytest.mark.parametrize("verb", ["describe", "eval", "chat"])
def test_another_folder_or_file_is_no_integration(
    verb: str, foundation_folder: Path, pairs_file: Callable, work: Path, refused: Refused
) -> None:
    file = pairs_file()
    rest = ["--pairs", file] if verb == "eval" else [GOOD]
    refused(verb, foundation_folder, *rest, says=("holds something else", "foundation", "integration"))
    refused(verb, file, *rest, says=("pairs.jsonl is not a folder",))
    refused(verb, work / "gone", *rest, says=("gone is not a folder",))


FOUNDATION: dict[str, tuple[Harm, tuple[str, ...]]] = {
    "truncated": (cut("projector.safetensors"), ("projector.safetensors has another size",)),
    "wrong hash": (flip("hypernetwork.safetensors"), ("hypernetwork.safetensors has another sha256",)),
    "truncated and signed": (
        lambda f: (cut("projector.safetensors")(f), signed(f)),
        ("projector.safetensors is not a whole",),
    ),
    "other shape": (
        settle("foundation.json", lambda d: d | {"projector": d["projector"] | {"d_hidden": 7}}),
        ("projector.safetensors: tensor", "does not fit"),
    ),
    "other width of texts": (
        settle("foundation.json", lambda d: d | {"projector": d["projector"] | {"d_in": 7}}),
        ("another width of text embeddings",),
    ),
    "unknown setting": (
        settle("foundation.json", lambda d: d | {"hypernetwork": {"kind": "ridge", "settings": {"depth": 3}}}),
        ("foundation.json does not describe", "depth"),
    ),
    "a key less": (
        settle("foundation.json", lambda d: {k: v for k, v in d.items() if k != "language_model"}),
        ("foundation.json does not describe", "no 'language_model'"),
    ),
    "other language model": (
        settle("foundation.json", lambda d: d | {"language_model": d["language_model"] | {"sha256": "0"}}),
        ("was made with another language model",),
    ),
}


@pytest.mark.parametrize("problem", FOUNDATION)
def test_a_bad_foundation_is_refused(
    problem: str, foundation_folder: Path, tiny_text: str, pairs_file: Callable, work: Path, refused: Refused
) -> None:
    folder = shutil.copytree(foundation_folder, work / "foundation")
    harm, says = FOUNDATION[problem]
    harm(folder)
    refused("adapt", "vectors", "--pairs", pairs_file(), "--foundation", folder, "--out", "out", says=says)


LANGUAGE_MODEL: dict[str, tuple[Harm, tuple[str, ...]]] = {
    "no chat template": (gone("chat_template.jinja"), ("has no chat template",)),
    "broken chat template": (write("chat_template.jinja", b"{% for m in"), ("chat template", "does not work")),
    "truncated weights": (cut("model.safetensors"), ("cannot be loaded",)),
    "no weights": (gone("model.safetensors"), ("cannot be loaded", "model.safetensors")),
    "no config": (gone("config.json"), ("holds no language model", "config.json")),
    "broken config": (cut("config.json"), ("cannot be loaded", "config.json")),
    "broken tokenizer": (cut("tokenizer.json"), ("cannot be loaded",)),
    "wider config": (
        settle("config.json", lambda c: c | {"intermediate_size": 64}, sign=False),
        ("do not fit its config.json", "mlp.down_proj.weight (32, 48), not (32, 64)"),
    ),
    "deeper config": (
        settle("config.json", lambda c: c | {"num_hidden_layers": 3}, sign=False),
        ("do not fit its config.json", "no model.layers.2"),
    ),
    "unknown architecture": (
        settle("config.json", lambda c: c | {"model_type": "magic"}, sign=False),
        ("cannot be loaded", "magic"),
    ),
    "setting of another type": (
        settle("config.json", lambda c: c | {"num_attention_heads": "x"}, sign=False),
        ("cannot be loaded", "num_attention_heads"),
    ),
}


@pytest.mark.parametrize("problem", LANGUAGE_MODEL)
def test_a_bad_language_model_is_refused(
    problem: str, tiny_lm: Path, foundation_folder: Path, tiny_text: str, pairs_file: Callable, work: Path,
    refused: Refused,
) -> None:  # fmt: skip
    folder = shutil.copytree(tiny_lm, work / "lm")
    foundation = shutil.copytree(foundation_folder, work / "foundation")
    settle("foundation.json", lambda d: d | {"language_model": d["language_model"] | {"id": str(folder)}})(foundation)
    config = {"sources": [{"procedural": 4, "weight": 1}], "schedule": {"steps": 2, "lr": 1e-3}}
    config |= {"language_model": str(folder), "precision": "fp32", "text_encoder": tiny_text}
    (work / "c.yaml").write_text(yaml.safe_dump(config))
    harm, says = LANGUAGE_MODEL[problem]
    harm(folder)
    says = (str(folder), *says)
    refused("adapt", "vectors", "--pairs", pairs_file(), "--foundation", foundation, "--out", "out", says=says)
    refused("train", "projector", "c.yaml", "--out", "out", says=says)


CHECKPOINTS: dict[str, bytes | None] = {"missing": None, "empty": b"", "text": b"not a checkpoint"}


@pytest.mark.parametrize("problem", CHECKPOINTS)
def test_a_bad_checkpoint_is_refused(problem: str, work: Path, refused: Refused) -> None:
    content = CHECKPOINTS[problem]
    if content is not None:
        (work / "semi.pt").write_bytes(content)
    refused("convert", "semi.pt", "--out", "out", says=("semi.pt",))


def test_a_truncated_checkpoint_or_a_folder_is_refused(work: Path, refused: Refused) -> None:
    torch.save({"a": torch.zeros(100)}, work / "semi.pt")
    cut("semi.pt")(work)
    refused("convert", "semi.pt", "--out", "out", says=("semi.pt",))
    refused("convert", work, "--out", "out", says=(str(work),))


def test_a_projector_of_another_language_model_is_refused(
    write_lm: Callable[..., Path], tiny_lm: Path, tiny_text: str, work: Path, semi: Callable, refused: Refused
) -> None:
    schedule = {"steps": 1, "lr": 1e-3}
    shared = {"sources": [{"procedural": 4, "samples": 16, "weight": 1}], "schedule": schedule, "shots": [2, 4]}
    lm = shutil.copytree(tiny_lm, work / "lm")
    first = {"language_model": str(lm), "precision": "fp32", "text_encoder": tiny_text, "warm_start": 0}
    small = {"projector": {"d_hidden": 8}, "batch": 4}
    (work / "p.yaml").write_text(yaml.safe_dump(shared | first | small))
    result = semi("train", "projector", "p.yaml", "--out", "projector")
    assert result.exit_code == 0, result.stderr
    (work / "h.yaml").write_text(yaml.safe_dump(shared | {"projector": "projector", "batch": 4}))
    train = ["train", "hypernetwork", "h.yaml", "--out", "out"]
    for settings, says in (
        ({"depth": 3}, "depth"),
        ({"d_correction": 0}, "d_correction"),
        ({"kernels": []}, "kernels"),
    ):
        (work / "s.yaml").write_text(yaml.safe_dump(shared | {"projector": "projector", "settings": settings}))
        refused("train", "hypernetwork", "s.yaml", "--out", "out", says=("ridge hypernetwork", says))
    save_file(
        {k: v + 1 for k, v in load_file(lm / "model.safetensors").items()}, lm / "model.safetensors", {"format": "pt"}
    )
    refused(*train, says=("projector was made with another language model",))
    shutil.copy(tiny_lm / "model.safetensors", lm)
    settle("projector.json", lambda d: d | {"projector": d["projector"] | {"d_lm": 16}})(work / "projector")
    refused(*train, says=("projector.safetensors: tensor", "does not fit"))

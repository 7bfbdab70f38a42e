"""The model card of a saved folder: what the record says, as README.md with the hub's head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from semi.artifacts import read_json, rebuilding
from semi.assets.catalog import CORE
from semi.errors import SemiError
from semi.plugins import load_modality
from semi.plugins.listing import list_offers

LIBRARY = "semi-llm"
_PAPER = "[arXiv 2509.04606](https://arxiv.org/abs/2509.04606)"


def model_card(folder: str | Path, manifest: Mapping[str, Any], repo_id: str, *, license: str | None = None) -> str:
    """README.md of an integration's or foundation's folder.

    Args:
        folder: a complete folder.
        manifest: its manifest, read already.
        repo_id: "OWNER/NAME", where it is going to be.
        license: of the weights, by the hub's identifier, e.g. "apache-2.0"; None: the card says that none is given.

    Raises:
        ArtifactError: the folder's JSON does not describe what it should.
    """
    from huggingface_hub import ModelCardData

    described_in = Path(folder) / f"{manifest['kind']}.json"
    described = read_json(described_in)
    with rebuilding(described_in, manifest["kind"]):
        write = _integration if manifest["kind"] == "integration" else _foundation
        tags, body = write(described, manifest, repo_id, license)
        language_model = described["language_model"]
        base = language_model["id"] if str(language_model["sha256"]).startswith("hub:") else None
    data = ModelCardData(library_name=LIBRARY, license=license, tags=[*tags, "semi", "multimodal"], base_model=base)
    return f"---\n{data.to_yaml()}\n---\n\n{body}"


def _integration(
    described: Mapping[str, Any], manifest: Mapping[str, Any], repo_id: str, license: str | None
) -> tuple[list[str], str]:
    modality, settings, metrics = described["modality"], described["settings"], described["metrics"]
    pairs, foundation = len(described["memory"]), described["foundation"][:16]
    body = [
        f"# {repo_id.rpartition('/')[2]}",
        f"A frozen language model that understands the modality `{modality}`, taught with {pairs} pairs of sample and "
        f"caption by [semi](https://pypi.org/project/{LIBRARY}/) ({_PAPER}).",
        "## Use",
        _code(
            "import semi",
            "",
            f'model = semi.Integration.from_pretrained("{repo_id}")',
            f"model.describe(sample)  # {described['instruction']}",
        ),
        _needs(modality, described["language_model"]["id"]),
        "## What it is",
        _table(
            [
                ("language model, frozen", _language_model(described["language_model"])),
                ("encoder, frozen", f"`{described['encoder']['id']}` of modality `{modality}`"),
                (
                    "foundation",
                    f"sha256 of its weights `{foundation}...`" if foundation else "was never saved",
                ),
                ("method", f"`{settings['method']}`, seed {settings['seed']}, {settings['steps']} gradient steps"),
                ("shots", f"{pairs} pairs, sha256 `{described['support_sha256'][:16]}...`"),
                ("pairs shown beside a sample", settings["examples"]),
                ("captions recalled", "yes" if described.get("recall") else "no"),
                ("alignment", f"`{described['alignment']['kind']}`, {described['alignment']['d_in']} numbers a sample"),
                ("made with", _versions(manifest)),
            ]
        ),
        "## Figures",
        _integration_figures(metrics),
        "## Licences",
        _licences(license, described["language_model"]["id"], modality),
        "## Know before you use it",
        f"It was taught with {pairs} pairs: what is unlike all of them is flagged when it is read, and its description "
        "is a guess. Captions and labels of the pairs are part of the files.",
    ]
    return [modality], _joined(body)


def _foundation(
    described: Mapping[str, Any], manifest: Mapping[str, Any], repo_id: str, license: str | None
) -> tuple[list[str], str]:
    sizes, config = described["projector"], manifest["info"].get("config", {})
    kinds = [each["kind"] for each in (described["hypernetwork"], *described.get("others", []))]
    text_encoder = described["text_encoder"]
    sources = [_source(source) for source in config.get("sources", [])]
    best = manifest["info"].get("best")
    trained = [("trained on", "; ".join(sources))] if sources else []
    body = [
        f"# {repo_id.rpartition('/')[2]}",
        f"A foundation of [semi](https://pypi.org/project/{LIBRARY}/) ({_PAPER}): the shared projector and the "
        "hypernetwork that teach a frozen language model a new modality from a few pairs of sample and caption.",
        "## Use",
        _code(
            "import semi",
            "",
            f'foundation = semi.Foundation.from_pretrained("{repo_id}")',
            'model = foundation.adapt("vectors", "pairs.jsonl", shots=32)',
        ),
        _needs(text_encoder["modality"], described["language_model"]["id"]),
        "## What it is",
        _table(
            [
                ("language model, frozen", _language_model(described["language_model"])),
                ("text encoder, frozen", f"`{text_encoder['id']}`"),
                ("projector", f"{sizes['d_in']} -> {sizes['d_hidden']} -> {sizes['soft_tokens']} x {sizes['d_lm']}"),
                ("hypernetwork", ", ".join(f"`{kind}`" for kind in kinds)),
                *trained,
                ("made with", _versions(manifest)),
            ]
        ),
        "## Figures",
        f"Validation loss {best['loss']:.3f} nats a caption token, after {best['step']:.0f} steps."
        if best
        else "None are recorded in the folder.",
        "## Licences",
        _licences(license, described["language_model"]["id"], text_encoder["modality"]),
    ]
    return ["foundation"], _joined(body)


def _integration_figures(metrics: Mapping[str, Any]) -> str:
    found: list[tuple[str, object]] = []
    if diagnosis := metrics.get("diagnosis"):
        names = {"loss": "loss, nats a caption token", "accuracy": "accuracy among captions", "chance": "by chance"}
        found += [(f"{label} (pairs left out)", diagnosis[name]) for name, label in names.items() if name in diagnosis]
    if losses := metrics.get("training_loss"):
        found.append(("loss at the last step of training", losses[-1]))
    return _table(found) if found else "None are recorded: it was adapted without a diagnosis."


def _licences(license: str | None, language_model: str, modality: str) -> str:
    """What the weights are under, and what has to be fetched to use them."""
    asset = CORE.get(language_model)
    try:
        others = [(f"`{found.name}`", found.licence) for found in load_modality(modality).assets]
    except SemiError:
        others = []  # the plugin is not here: its own page says
    return _table(
        [
            ("these weights", license or "not given: ask the author before you use them for more than a look"),
            ("language model", asset.licence if asset else "see its own page"),
            *dict(others).items(),
        ]
    )


def _needs(modality: str, language_model: str) -> str:
    brings = [offer.distribution for offer in list_offers() if (offer.kind, offer.name) == ("modality", modality)]
    names = " ".join([LIBRARY, *(name for name in brings[:1] if name != LIBRARY)])
    needed = f"It needs `pip install {names}`, the language model and the encoder; semi says what has to be fetched."
    if Path(language_model).is_absolute():
        needed += f" Say where `{Path(language_model).name}` lies: `from_pretrained(..., language_model=FOLDER)`."
    return needed


def _language_model(source: Mapping[str, str]) -> str:
    # A folder of somebody's machine means nothing elsewhere, and is nobody's business.
    name = Path(source["id"]).name if Path(source["id"]).is_absolute() else source["id"]
    sha256 = source["sha256"] if source["sha256"].startswith("hub:") else f"{source['sha256'][:16]}..."
    return f"`{name}` in {source['precision']}, sha256 `{sha256}`"


def _source(source: Mapping[str, Any]) -> str:
    if source.get("encoded"):
        folders = source["encoded"] if isinstance(source["encoded"], list) else [source["encoded"]]
        return ", ".join(f"`{Path(folder).name}`" for folder in folders)
    return f"{source.get('procedural')} procedural modalities"


def _versions(manifest: Mapping[str, Any]) -> str:
    found = manifest["versions"]
    return ", ".join(f"{name} {found[name]}" for name in (LIBRARY, "torch", "transformers") if found.get(name))


def _table(rows: Iterable[tuple[str, object]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _code(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(parts) + "\n"

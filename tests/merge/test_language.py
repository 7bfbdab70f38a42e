"""A merge as a language model: its names, its hash, its views."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from semi.artifacts import write_manifest
from semi.errors import ArtifactError, InputError
from semi.language_model import LanguageModel
from semi.merge.adding import add_model
from semi.merge.export import export
from semi.merge.language import MergeName
from semi.merge.removing import remove_model
from semi.quantised import QuantisedLinear
from semi_kernels import NF4Weight
from tests.merge.conftest import flip
from tests.merge.llamas import EMBEDDINGS, EXTRA, Merged, merge_llamas
from tests.merge.newcomers import NEW, newcomer

Write = Callable[..., Path]
CAPTIONS = ["a red cat", "two green houses"]
SAME = ["Describe this."] * 2


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm, method="optimal")


@pytest.fixture(scope="module")
def text(merged: Merged) -> LanguageModel:
    return load(merged, "#text")


def load(merged: Merged, part: str, **options: Any) -> LanguageModel:
    return LanguageModel.load(f"{merged.folder}{part}", device="cpu", **options)


def exported(merged: Merged, name: str, out: Path, precision: str = "fp32") -> LanguageModel:
    with merged.open() as artifact:
        export(artifact, name, out)
    return LanguageModel.load(str(out), precision=precision, device="cpu")


def rewrite_manifest(folder: Path, without: str | None = None) -> None:
    """For a merge whose files were changed, as if it had been made so; without the files of one of its models."""
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [name for name in files if name != "manifest.json" and (without is None or without not in name)]
    info = json.loads((folder / "manifest.json").read_text())["info"]
    write_manifest(folder, kind="merge", files=kept, info=info)


def soft(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(seed))


def everything(model: LanguageModel) -> list[Tensor]:
    """What a language model computes, in one way and another; its gradient too."""
    rows = soft().requires_grad_()
    nats, _ = model.caption_loss(rows, SAME, CAPTIONS)
    (slope,) = torch.autograd.grad(nats.sum(), rows)
    prompts = [model.prompt(text) for text in SAME]
    written = model.generate([[row] for row in soft(1)], prompts, max_new_tokens=6)
    read = torch.tensor([ord(letter) for letter in "".join(written)])
    return [nats.detach(), slope, read, model.words(CAPTIONS), model.embed_parts(CAPTIONS, 2), model.input_embeddings()]


def same(one: LanguageModel, other: LanguageModel) -> bool:
    pairs = zip(everything(one), everything(other), strict=True)
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs)


NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]*", fullmatch=True)


@given(modality=st.none() | NAME, policy=st.sampled_from(["merged", "base", "mean", "union"]))
def test_a_name_is_read_as_it_is_written(modality: str | None, policy: Any) -> None:
    name = MergeName(Path("/some where/a.mmer"), modality, "merged" if modality else policy)
    assert MergeName.parse(str(name)) == name


def test_names_of_merges_and_of_nothing_else(merged: Merged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MergeName.parse("gone.mmer") == MergeName(Path.cwd() / "gone.mmer")
    for other in ("smollm2-135m", "owner/name", "./folder", str(merged.base)):
        assert MergeName.parse(other) is None
    (tmp_path / "one#two").mkdir()
    assert MergeName.parse(str(tmp_path / "one#two")) is None
    shutil.copytree(merged.folder, tmp_path / "plain")  # known by what it holds
    monkeypatch.chdir(tmp_path)
    assert MergeName.parse("plain") == MergeName(tmp_path / "plain")
    assert MergeName.parse("plain#lora") == MergeName(tmp_path / "plain", "lora")
    with pytest.raises(InputError, match="no policy for text") as caught:
        MergeName.parse("plain#text=loud")
    assert caught.value.got == "loud"


@pytest.mark.parametrize("name", ["text", "lora"])
@pytest.mark.parametrize("method", ["mmer", "ternary"])
def test_a_modality_is_its_exported_folder_bit_for_bit(tmp_path: Path, write_lm: Write, name: str, method: str) -> None:
    merged = merge_llamas(tmp_path, write_lm, method=method, tied=method == "mmer")
    model = load(merged, f"#{name}")
    assert (model.precision, model.id) == ("fp32", f"{merged.folder}#{name}")
    assert same(model, exported(merged, name, tmp_path / "out"))


def test_an_exported_folder_is_the_same_model_wherever_it_was_written(merged: Merged, tmp_path: Path) -> None:
    one, other = (exported(merged, "text", tmp_path / name) for name in ("one", "other"))
    assert one.sha256 == other.sha256


def test_in_16_bits_too(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm, dtype=torch.bfloat16)
    model = load(merged, "#text")
    assert model.precision == "bf16"
    assert same(model, exported(merged, "text", tmp_path / "out", "bf16"))


def test_text_is_what_the_policy_says(merged: Merged) -> None:
    base = LanguageModel.load(str(merged.base), precision="fp32", device="cpu")
    assert same(load(merged, "#text=base"), base)
    alone = load(merged, "")
    assert alone.id == f"{merged.folder}#text=merged"
    assert same(alone, load(merged, "#text=merged"))
    assert not same(alone, load(merged, "#text=mean"))


def test_views_share_memory_and_do_not_disturb_each_other(merged: Merged, text: LanguageModel) -> None:
    lora = text.under("lora")
    expected = [everything(load(merged, part)) for part in ("#text", "#lora", "#text=merged")]
    views = [text, lora, lora.under(None)]
    for at in (0, 1, 2, 1, 0, 2):
        found = everything(views[at])
        assert all(torch.equal(a, b) for a, b in zip(found, expected[at], strict=True))
    assert lora.model.get_parameter(EMBEDDINGS) is text.model.get_parameter(EMBEDDINGS)
    assert lora.under("text").source() == text.source()
    # A reading that is answered later is still that of the view that began it.
    prompts = [[row] for row in soft()], [text.prompt(SAME[0])] * 2
    read = text.generate(*prompts, max_new_tokens=5)
    lora.generate(*prompts, max_new_tokens=5)
    assert text.generate(*prompts, max_new_tokens=5) == read


def test_tokens_of_a_modality_are_in_its_vocabulary(text: LanguageModel) -> None:
    vision = text.under("vision")
    assert len(vision.input_embeddings()) == 300 + EXTRA
    assert vision.embed_tokens([300 + EXTRA - 1]).shape == (1, 32)
    assert len(text.input_embeddings()) == 300


def test_a_modality_has_its_own_tokenizer_and_way_of_writing(merged: Merged, tmp_path: Path) -> None:
    shutil.copytree(merged.folder, folder := tmp_path / "own.mmer")
    own = folder / "files" / "text"
    told = json.loads((own / "generation_config.json").read_text())
    (own / "generation_config.json").write_text(json.dumps(told | {"eos_token_id": [1, 7]}))
    template = json.loads((own / "tokenizer_config.json").read_text())
    (own / "chat_template.jinja").write_text("{% for m in messages %}<{{ m['content'] }}>{% endfor %}")
    (own / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in template.items() if k != "chat_template"}))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / "files" / "lora" / name).unlink(missing_ok=True)  # the base's, then
    rewrite_manifest(folder)
    model = load(replace(merged, folder=folder), "#text")
    assert model.end == [1, 7]
    assert "<" in model.tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    lora = model.under("lora")
    assert lora.end == [1]
    assert lora.prompt("Hi") != model.prompt("Hi")
    assert model.model.generation_config.eos_token_id == [1, 7]
    assert lora.model.generation_config.eos_token_id == 1


def test_the_hash_is_of_what_is_computed_with_and_of_nothing_else(merged: Merged, tmp_path: Path) -> None:
    text = load(merged, "#text")
    views = [text, text.under("vision"), text.under("lora"), text.under(None), load(merged, "#text=mean")]
    assert len({view.sha256 for view in views}) == len(views)
    shutil.copytree(merged.folder, moved := tmp_path / "moved.mmer")
    assert load(replace(merged, folder=moved), "#text").sha256 == text.sha256
    content = json.loads((moved / "merge.json").read_text())
    content["models"] = [model for model in content["models"] if model["name"] != "lora"]
    for entry in content["entries"].values():
        entry.get("masks", {}).pop("lora", None)
    (moved / "merge.json").write_text(json.dumps(content))
    rewrite_manifest(moved, without="lora")
    fewer = load(replace(merged, folder=moved), "#text")
    assert fewer.sha256 == text.sha256
    assert fewer.under("vision").sha256 == text.under("vision").sha256
    assert fewer.under(None).sha256 != text.under(None).sha256
    (moved / "files" / "text" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    rewrite_manifest(moved)
    assert load(replace(merged, folder=moved), "#text").sha256 != text.sha256


def test_a_model_that_is_added_changes_nothing_for_the_others(merged: Merged, tmp_path: Path) -> None:
    config, _ = newcomer(merged, tmp_path / NEW)
    add_model(merged.folder, config, tmp_path / "more.mmer")
    before, after = load(merged, "#text"), load(replace(merged, folder=tmp_path / "more.mmer"), "#text")
    assert same(before, after)
    for name in ("text", "vision", "lora"):
        assert before.under(name).sha256 == after.under(name).sha256
    alone = exported(replace(merged, folder=tmp_path / "more.mmer"), "text", tmp_path / "out")
    assert same(after, alone)
    for policy in ("base", "merged", "mean", "union"):
        assert text_of(merged.folder, policy) == text_of(tmp_path / "more.mmer", policy)
    assert after.under(NEW).sha256 not in (view.sha256 for view in (before, before.under(None), after.under(None)))
    assert after.matching(before.under("lora").sha256).id == f"{tmp_path}/more.mmer#lora"
    assert after.matching("of another one") is after


def text_of(folder: Path, policy: str) -> str:
    return LanguageModel.load(f"{folder}#text={policy}", device="cpu").sha256


def test_text_is_another_one_without_a_model_that_it_is_made_of_unless_it_is_the_base(
    merged: Merged, tmp_path: Path
) -> None:
    remove_model(merged.folder, "lora", fewer := tmp_path / "fewer.mmer")
    for policy in ("merged", "mean", "union"):
        assert text_of(fewer, policy) != text_of(merged.folder, policy)
    assert text_of(fewer, "base") == text_of(merged.folder, "base")
    assert same(*(load(replace(merged, folder=folder), "#text=base") for folder in (fewer, merged.folder)))


def test_in_4_bits_it_is_the_base_that_is_rounded(merged: Merged) -> None:
    model, dense = load(merged, "#text", precision="nf4"), load(merged, "#text", precision="bf16")
    for name, layer in model.model.named_modules():
        if isinstance(layer, QuantisedLinear):
            plain = dense.model.get_submodule(name)
            plain.weight.data = NF4Weight.from_float(plain.weight.data).dequantize().to(plain.weight)
    rows = soft().requires_grad_()
    nats, _ = model.caption_loss(rows, SAME, CAPTIONS)
    torch.testing.assert_close(nats, dense.caption_loss(soft(), SAME, CAPTIONS)[0], rtol=0.02, atol=0.02)
    assert torch.autograd.grad(nats.sum(), rows)[0].abs().sum(-1).min() > 0


def test_what_cannot_be_is_refused(merged: Merged, tmp_path: Path, write_lm: Write) -> None:
    with pytest.raises(ArtifactError, match="there is no merge") as caught:
        LanguageModel.load(f"{tmp_path}/gone.mmer#text", device="cpu")
    assert "--language-model NEW#text" in str(caught.value.do)
    with pytest.raises(InputError, match="no model of that name") as refused:
        load(merged, "#smell")
    assert refused.value.got == "smell"
    assert "text, vision, lora" in str(refused.value.expected)
    with pytest.raises(InputError, match="cannot be held in q4_1"):
        load(merged, "#text", precision="q4_1")
    plain = LanguageModel.load(str(merged.base), precision="fp32", device="cpu")
    with pytest.raises(InputError, match="is no merge"):
        plain.under("text")
    with pytest.raises(InputError, match="is no merge, and has no base"):
        LanguageModel.load(str(merged.base), precision="fp32", device="cpu", base=merged.base)
    with pytest.raises(ArtifactError, match="is not the base of"):
        load(merged, "#text", base=write_lm(tmp_path / "other"))
    shutil.copytree(merged.base, moved := tmp_path / "base")
    assert load(merged, "#text", base=moved).sha256 == load(merged, "#text").sha256


def test_damage_is_found_before_anything_is_computed(merged: Merged, tmp_path: Path) -> None:
    shutil.copytree(merged.folder, folder := tmp_path / "a.mmer")
    flip(folder / "shared-00001.safetensors")
    with pytest.raises(ArtifactError, match="is damaged") as caught:
        LanguageModel.load(f"{folder}#text", device="cpu")
    assert "shared-00001.safetensors" in str(caught.value.got)

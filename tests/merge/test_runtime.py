from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from semi.errors import ArtifactError, InputError
from semi.merge.export import export
from semi.merge.runtime import DecoupledModel
from semi.merge.steps import Weights
from semi.quantised import QuantisedLinear
from semi_kernels import NF4Weight
from tests.merge.conftest import flip
from tests.merge.llamas import EXTRA, NORM, Merged, Q, merge_llamas

Write = Callable[..., Path]
NAMES = ("text", "vision", "lora")


def drawn(batch: int, tokens: int, seed: int = 0) -> Tensor:
    return torch.randint(300, (batch, tokens), generator=torch.Generator().manual_seed(seed))


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.fixture(scope="module", params=["mmer", "ternary"])
def merged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, write_lm: Write) -> Merged:
    return merge_llamas(tmp_path_factory.mktemp("merge"), write_lm, method=request.param, tied=request.param != "mmer")


@pytest.fixture(scope="module")
def plain(merged: Merged) -> dict[str, Any]:
    """Each modality's exported language model, and the base as "base"."""
    models = {"base": AutoModelForCausalLM.from_pretrained(merged.base)}
    for name in NAMES:
        with merged.open() as artifact:
            export(artifact, name, out := merged.folder.parent / f"plain-{name}")
        if name == "vision":  # its language model alone
            tensors = {key: tensor for file in out.glob("*.safetensors") for key, tensor in load_file(file).items()}
            start = "language_model."
            own = {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}
            (alone := out.with_name("alone")).mkdir()
            shutil.copy(out / "config.json", alone)
            save_file(own, alone / "model.safetensors", metadata={"format": "pt"})
            out = alone
        models[name] = AutoModelForCausalLM.from_pretrained(out)
    return models


@pytest.fixture(scope="module")
def loaded(merged: Merged) -> DecoupledModel:
    return DecoupledModel.load(merged.folder)


@pytest.fixture
def model(loaded: DecoupledModel) -> DecoupledModel:
    return loaded.use(None)


def token_by_token(plain: dict[str, Any], ids: Tensor, modality_ids: Tensor) -> Tensor:
    """The reference: every layer of every model computes all tokens, and each token takes its own model's output."""
    owners = [*NAMES, "base"]
    layers = {owner: dict(plain[owner].named_modules()) for owner in owners}
    hooks = []

    def routed(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
            result = None
            for number, owner in enumerate(owners):
                own = type(module).forward(layers[owner][name], *arguments)[..., : output.shape[-1]]
                mask = (modality_ids % len(owners) == number).view(*modality_ids.shape, *[1] * (own.ndim - 2))
                result = own * mask if result is None else result + own * mask
            assert result is not None
            return result

        return hook

    for name, module in plain["base"].named_modules():
        if list(module.parameters(recurse=False)):
            hooks.append(module.register_forward_hook(routed(name)))
    logits: Tensor = plain["base"](ids).logits
    for hook in hooks:
        hook.remove()
    return logits


@torch.no_grad()
def test_one_modality_is_its_exported_model(model: DecoupledModel, plain: dict[str, Any]) -> None:
    ids = drawn(2, 7)
    for name in NAMES:
        close(model.use(name)(ids).logits, plain[name](ids).logits)
        close(model.use(None)(ids, torch.full_like(ids, model.id_of(name))).logits, plain[name](ids).logits)
    close(model.use(None)(ids).logits, plain["base"](ids).logits)


@torch.no_grad()
def test_tokens_of_the_modality_alone(model: DecoupledModel, plain: dict[str, Any]) -> None:
    ids = torch.tensor([[5, 300, 300 + EXTRA - 1, 7]])
    found = model.use("vision")(ids).logits
    assert found.shape[-1] == 300 + EXTRA
    close(found, plain["vision"](ids).logits)
    mixed = model(torch.cat([ids, drawn(1, 4)]), torch.tensor([[1] * 4, [0] * 4])).logits
    close(mixed[0], found[0])
    assert (mixed[1, :, 300:] == -torch.inf).all()  # tokens that text does not have


@torch.no_grad()
def test_a_mixed_batch_is_its_rows_one_by_one(model: DecoupledModel, plain: dict[str, Any]) -> None:
    ids = drawn(4, 6, seed=1)
    found = model(ids, torch.tensor([[0], [1], [2], [-1]]).expand(4, 6)).logits
    for row, name in enumerate([*NAMES, "base"]):
        close(found[row, :, :300], plain[name](ids[row : row + 1]).logits[0, :, :300])
    modalities = torch.randint(-1, 3, (4, 6), generator=torch.Generator().manual_seed(2))
    found = model(ids, modalities).logits
    for row in range(4):
        alone = model(ids[row : row + 1], modalities[row : row + 1]).logits[0]
        close(found[row, :, :300], alone[:, :300])


@torch.no_grad()
def test_each_token_has_its_own_layers(model: DecoupledModel, plain: dict[str, Any]) -> None:
    ids = drawn(3, 8, seed=3)
    modalities = torch.randint(-1, 3, (3, 8), generator=torch.Generator().manual_seed(4))
    close(model(ids, modalities).logits[..., :300], token_by_token(plain, ids, modalities))


@torch.no_grad()
def test_a_key_value_cache_continues(model: DecoupledModel) -> None:
    ids, modalities = drawn(2, 8, seed=5), torch.tensor([[-1, 1, 1, 1, -1, 0, 0, 2], [0] * 4 + [1] * 4])
    whole = model(ids, modalities).logits[..., :300]
    first = model(ids[:, :5], modalities[:, :5], use_cache=True)
    close(first.logits[..., :300], whole[:, :5])
    cache = first.past_key_values
    for at in range(5, 8):
        step = model(ids[:, at : at + 1], modalities[:, at : at + 1], past_key_values=cache, use_cache=True)
        close(step.logits[..., :300], whole[:, at : at + 1])
        cache = step.past_key_values


@torch.no_grad()
def test_padding_embeddings_and_fewer_logits(model: DecoupledModel) -> None:
    ids, modalities = drawn(2, 6, seed=6), torch.tensor([[0, 0, 1, 1, 2, 2], [-1, -1, 0, 0, 1, 1]])
    expected = model(ids, modalities).logits
    padded = torch.cat([torch.zeros(2, 2, dtype=torch.long), ids], dim=1)
    mask = torch.cat([torch.zeros(2, 2, dtype=torch.long), torch.ones_like(ids)], dim=1)
    of_padded = torch.cat([torch.full((2, 2), -1), modalities], dim=1)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    close(model(padded, of_padded, attention_mask=mask, position_ids=positions).logits[:, 2:], expected)
    with model.routing(modalities):
        embeds = model.model.get_input_embeddings()(ids)  # type: ignore[operator]
    close(model(None, modalities, inputs_embeds=embeds).logits, expected)
    close(model(ids, modalities, logits_to_keep=2).logits, expected[:, -2:])


@torch.no_grad()
def test_generating_goes_on_under_the_last_modality(model: DecoupledModel, plain: dict[str, Any]) -> None:
    ids = drawn(1, 5, seed=7)
    how = {"max_new_tokens": 4, "do_sample": False, "attention_mask": torch.ones_like(ids), "pad_token_id": 0}
    for name in ("text", "lora"):
        with model.routing(torch.full_like(ids, model.id_of(name))):
            found = model.model.generate(ids, **how)  # type: ignore[operator]
        assert torch.equal(found, plain[name].generate(ids, **how))
    modalities, tokens = torch.tensor([[-1, -1, 2, 0, 0]]), ids
    for _ in range(4):
        longer = torch.cat([modalities, modalities[:, -1:].expand(1, tokens.shape[1] - 5)], dim=1)
        tokens = torch.cat([tokens, model(tokens, longer).logits[:, -1:].argmax(-1)], dim=1)
    with model.routing(modalities):
        assert torch.equal(model.model.generate(ids, **how), tokens)  # type: ignore[operator]


def test_gradients_reach_the_inputs_alone(model: DecoupledModel) -> None:
    embeds = torch.randn(1, 3, 32, requires_grad=True)
    model(None, torch.tensor([[0, 1, -1]]), inputs_embeds=embeds).logits[..., :300].sum().backward()
    assert embeds.grad is not None
    assert (embeds.grad.abs().sum(-1) > 0).all()
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


@torch.no_grad()
@pytest.mark.parametrize("policy", ["merged", "mean", "union"])
def test_text_policies(merged: Merged, policy: Any) -> None:
    model = DecoupledModel.load(merged.folder, text_policy=policy)
    expected = AutoModelForCausalLM.from_pretrained(merged.base)
    with merged.open() as artifact:
        for key, entry in artifact.entries.items():
            tensor = expected.get_parameter(key)
            if entry.kind == "exact":
                tensor.copy_(torch.stack([merged.tensors[name][key] for name in NAMES]).mean(0))
                continue
            [(_, code)] = artifact.code(key)
            scales = [artifact.scales(name, key) for name in NAMES]
            own = torch.stack([code.delta(i, scale) for i, scale in enumerate(scales)])
            direction = code.shared if artifact.rule != "ternary" else code.shared * code.masks.sum(0).sign()  # type: ignore[union-attr]
            factor = 1 if scales[0] is None else torch.stack(scales).mean(0)[:, None]  # type: ignore[arg-type]
            any_mask = (code.masks != 0).any(0)  # type: ignore[union-attr]
            delta = {"merged": direction * factor, "mean": own.mean(0), "union": direction * factor * any_mask}[policy]
            tensor.add_(delta)
    ids = drawn(2, 5, seed=8)
    close(model(ids).logits, expected(ids).logits)
    close(model(ids, torch.tensor([[-1] * 5, [1] * 5])).logits[0, :, :300], expected(ids).logits[0])


@torch.no_grad()
def test_a_small_cache_changes_nothing_but_time(merged: Merged, loaded: DecoupledModel) -> None:
    ids, modalities = drawn(2, 4, seed=9), torch.tensor([[0, 1, 2, -1], [2, 2, 1, 0]])
    expected = loaded(ids, modalities).logits
    model = DecoupledModel.load(merged.folder, cache=20_000)
    for _ in range(2):
        assert torch.equal(model(ids, modalities).logits, expected)
    assert 0 < model._cache.nbytes <= 20_000


@torch.no_grad()
def test_a_4_bit_base_gets_the_same_steps(merged: Merged) -> None:
    model = DecoupledModel.load(merged.folder, precision="nf4", text_policy="union")
    dense = DecoupledModel.load(merged.folder, text_policy="union")
    quantised = {name for name, layer in model.model.named_modules() if isinstance(layer, QuantisedLinear)}
    assert len(quantised) == 14
    for name in quantised:  # the dense base, rounded to what 4 bits hold
        layer = dense.model.get_submodule(name)
        layer.weight.data = NF4Weight.from_float(layer.weight.data).dequantize()  # type: ignore[operator, arg-type, union-attr]
    ids, modalities = drawn(2, 5, seed=10), torch.tensor([[0, 1, 2, -1, 0], [-1, 2, 2, 1, 1]])
    torch.testing.assert_close(model(ids, modalities).logits, dense(ids, modalities).logits, rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_base_in_16_bits_is_rounded_as_an_export_rounds(tmp_path: Path, write_lm: Write) -> None:
    merged = merge_llamas(tmp_path, write_lm, method="optimal", dtype=torch.bfloat16)
    with merged.open() as artifact:
        export(artifact, "text", tmp_path / "out")
    ids = drawn(1, 6)
    expected = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)(ids).logits
    close(DecoupledModel.load(merged.folder, dtype=torch.float32).use("text")(ids).logits, expected)
    assert DecoupledModel.load(merged.folder, dtype=torch.bfloat16).use("text")(ids).logits.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("ids", "match"),
    [
        (torch.zeros(2, 4, dtype=torch.long), "do not fit the batch"),
        (torch.full((2, 5), 3), "are no ids of modalities"),
        (torch.full((2, 5), -2), "are no ids of modalities"),
        (torch.zeros(2, 5), "are no ids of modalities"),
        (torch.zeros(2, 5, dtype=torch.bool), "are no ids of modalities"),
    ],
    ids=["shape", "high", "low", "float", "bool"],
)
def test_wrong_ids_are_refused(model: DecoupledModel, ids: Tensor, match: str) -> None:
    with pytest.raises(InputError, match=match):
        model(drawn(2, 5), ids)


def test_wrong_use_is_refused(model: DecoupledModel, merged: Merged, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no modality of that name") as caught:
        model.use("smell")
    assert caught.value.expected == "text, vision, lora"
    for inputs in ({}, {"input_ids": drawn(1, 2), "inputs_embeds": torch.zeros(1, 2, 32)}):
        with pytest.raises(InputError, match="input_ids or inputs_embeds"):
            model(**inputs)
    with pytest.raises(InputError, match="unknown text_policy"):
        DecoupledModel.load(merged.folder, text_policy="loud")  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="is not there"):
        DecoupledModel.load(merged.folder, base=tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="no parameters of the base's model") as found:
        DecoupledModel(nn.Linear(2, 2), ["one"], {"other.weight": Weights()})
    assert found.value.got == "other.weight"


def test_a_base_that_is_no_language_model_is_refused(merged: Merged, tmp_path: Path) -> None:
    shutil.copytree(merged.base, other := tmp_path / "other")
    (other / "config.json").write_text(json.dumps({"model_type": "resnet"}))
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        DecoupledModel.load(merged.folder, base=other)


def test_a_damaged_merge_is_refused_unless_hashes_are_left_out(merged: Merged, tmp_path: Path) -> None:
    shutil.copytree(merged.folder, folder := tmp_path / "a.mmer")
    flip(folder / "kept-vision-00001.safetensors")
    DecoupledModel.load(folder)  # encoders have no part in it
    flip(folder / "exact-text.safetensors")
    with pytest.raises(ArtifactError, match="is damaged") as caught:
        DecoupledModel.load(folder)
    assert caught.value.got == "exact-text.safetensors has another sha256"
    DecoupledModel.load(folder, hashes=False)


def test_loading_shows_no_bar(merged: Merged, capfd: pytest.CaptureFixture[str]) -> None:
    DecoupledModel.load(merged.folder)
    assert capfd.readouterr().err == ""


def test_weights_are_those_of_the_base_underneath(model: DecoupledModel, merged: Merged) -> None:
    base = load_file(merged.base / "model.safetensors")
    model.use("vision")(drawn(1, 3))
    for key in (Q, NORM):
        assert torch.equal(model.model.get_parameter(key), base[key])

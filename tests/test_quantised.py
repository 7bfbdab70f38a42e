"""Linear layers on 4-bit weights in a language model: the same numbers, and gradients for the soft tokens."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from semi import weights
from semi.assets import CORE
from semi.errors import ArtifactError, InputError
from semi.language_model import LanguageModel
from semi.quantised import QuantisedLinear, bitsandbytes_weights, gguf_weights, replace_linears
from semi_kernels import NF4Weight, Q4Weight

CPU = torch.device("cpu")
INSTRUCTION = "Describe this."


@pytest.fixture(params=["reference", "triton"])
def kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which kernels compute; Triton's are run by its interpreter."""
    if request.param == "triton":
        pytest.importorskip("triton")
    monkeypatch.setenv("SEMI_KERNELS", request.param)
    return str(request.param)


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and "layers" in name}


def loss_and_gradient(lm: LanguageModel) -> tuple[Tensor, Tensor]:
    soft = torch.randn(2, 2, lm.d_lm, generator=torch.Generator().manual_seed(0)).requires_grad_()
    nats, _ = lm.caption_loss(soft, [INSTRUCTION] * 2, ["a red cat", "blue"])
    (gradient,) = torch.autograd.grad(nats.sum(), soft)
    return nats.detach(), gradient


def decoded(layer: nn.Module) -> Tensor:
    assert isinstance(layer, QuantisedLinear)
    return layer.weight.dequantize()


@pytest.mark.parametrize("bias", [False, True], ids=["no_bias", "bias"])
@pytest.mark.parametrize("make", [NF4Weight.from_float, Q4Weight.from_float], ids=["nf4", "q4_1"])
def test_a_layer_multiplies_by_its_decoded_weight(kernels: str, make: Any, bias: bool) -> None:
    torch.manual_seed(0)
    weight = make(torch.randn(7, 64))
    layer = QuantisedLinear(weight, nn.Parameter(torch.randn(7)) if bias else None)
    x = torch.randn(2, 3, 64, requires_grad=True)
    expected = nn.functional.linear(x, weight.dequantize(), layer.bias)
    y = layer(x)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    slope = torch.randn_like(y)
    found, wanted = (torch.autograd.grad((z * slope).sum(), x)[0] for z in (y, expected))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert not list(layer.parameters())


@pytest.mark.parametrize("make", [NF4Weight.from_float, Q4Weight.from_float], ids=["nf4", "q4_1"])
def test_a_layer_moves_with_its_model_and_keeps_its_dtypes(make: Any) -> None:
    weight = make(torch.randn(5, 64))
    model = nn.Sequential(QuantisedLinear(weight))
    for cast in (model.bfloat16(), copy.deepcopy(model).to("cpu", torch.float16), model.to("cpu")):
        assert torch.equal(decoded(cast[0]), weight.dequantize())
    assert {t.dtype for t in model.state_dict().values()} == {t.dtype for t in weight.tensors()}
    elsewhere = copy.deepcopy(model).to("meta")[0]
    assert isinstance(elsewhere, QuantisedLinear)
    assert elsewhere.weight.device.type == "meta"
    assert sum(b.nbytes for b in model.buffers()) == weight.nbytes


@pytest.mark.parametrize("make", [NF4Weight.from_float, Q4Weight.from_float], ids=["nf4", "q4_1"])
def test_a_language_model_computes_the_same_on_replaced_layers(kernels: str, tiny_lm: Path, make: Any) -> None:
    plain, ours = (LanguageModel.load(str(tiny_lm), precision="fp32", device="cpu") for _ in range(2))
    packed = {name: make(layer.weight) for name, layer in linears(ours.model).items() if layer.in_features % 32 == 0}
    assert len(packed) == 12  # all but down_proj, whose rows are 48 wide
    for name, weight in packed.items():
        plain.model.get_submodule(name).weight.data = weight.dequantize()
    replace_linears(ours.model, packed)
    assert not set(packed) & set(linears(ours.model))
    for found, wanted in zip(loss_and_gradient(ours), loss_and_gradient(plain), strict=True):
        assert (wanted != 0).all()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    soft, prompt = [[torch.ones(1, 32)]], [ours.prompt(INSTRUCTION)]
    assert ours.generate(soft, prompt, max_new_tokens=2) == plain.generate(soft, prompt, max_new_tokens=2)
    assert ours.source() == plain.source()


def test_what_does_not_fit_is_refused_and_replaces_nothing(tiny_lm: Path) -> None:
    model = LanguageModel.load(str(tiny_lm), precision="fp32", device="cpu").model
    names = list(linears(model))
    good = NF4Weight.from_float(linears(model)[names[0]].weight)
    wrong = {"model.norm": good, "no.such.layer": good, names[-1]: NF4Weight.from_float(torch.randn(3, 5))}
    for name, weight in wrong.items():
        with pytest.raises(ArtifactError, match=name):
            replace_linears(model, {names[0]: good, name: weight})
    assert list(linears(model)) == names


@pytest.mark.parametrize("mode", ["auto", "reference"])
def test_on_a_cpu_a_language_model_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, tiny_lm: Path, mode: str) -> None:
    pytest.importorskip("bitsandbytes")
    monkeypatch.setenv("SEMI_KERNELS", mode)
    model = LanguageModel.load(str(tiny_lm), precision="nf4", device="cpu").model
    assert not [layer for layer in model.modules() if isinstance(layer, QuantisedLinear)]


def test_layers_of_bitsandbytes_are_ours_where_kernels_run(
    monkeypatch: pytest.MonkeyPatch, write_lm: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("triton")
    folder = str(write_lm(tmp_path / "lm", width=128))  # bitsandbytes' CPU kernel is wrong unless 64 divides the width
    theirs = LanguageModel.load(folder, precision="nf4", device="cpu")
    packed = bitsandbytes_weights(theirs.model)
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    ours = LanguageModel.load(folder, precision="nf4", device="cpu")
    replaced = {name for name, layer in ours.model.named_modules() if isinstance(layer, QuantisedLinear)}
    assert replaced == set(packed) == set(linears(theirs.model))
    for name in replaced:
        layer = theirs.model.get_submodule(name)
        assert torch.equal(decoded(ours.model.get_submodule(name)), bnb_decoded(layer))
    assert ours.source() == theirs.source()
    monkeypatch.setenv("SEMI_KERNELS", "reference")  # the interpreter is slow, and the tests above compare the two
    found, wanted = loss_and_gradient(ours), loss_and_gradient(theirs)
    torch.testing.assert_close(found[0], wanted[0], rtol=2e-2, atol=0)
    assert torch.nn.functional.cosine_similarity(found[1].flatten(), wanted[1].flatten(), dim=0) > 0.999


def bnb_decoded(layer: Any) -> Tensor:
    from bitsandbytes.functional import dequantize_4bit

    weight: Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return weight


def test_kernels_that_cannot_run_are_told_before_a_model_is_read(
    monkeypatch: pytest.MonkeyPatch, tiny_lm: Path
) -> None:
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(InputError, match="SEMI_KERNELS=triton"):
        LanguageModel.load(str(tiny_lm), precision="fp32", device="cpu")


def turned(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries or keys in llama.cpp's order: `LlamaModel.permute` of its convert_hf_to_gguf.py."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(file: Path, model: Any, left_out: Sequence[str] = ()) -> None:
    """The linear layers of a Llama as llama.cpp writes them, Q4_1 where the width allows it."""
    from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map
    from gguf.quants import quantize

    writer = GGUFWriter(file, "llama")
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    for name, layer in linears(model).items():
        kind = name.rpartition(".")[2]
        weight = turned(layer.weight, heads[kind]) if kind in heads else layer.weight
        data = weight.detach().numpy().astype(np.float32)
        own = f"{names.get_name(name)}.weight"
        if layer.in_features % 32 or kind in left_out:
            writer.add_tensor(own, data)
        else:
            as_q4 = GGMLQuantizationType.Q4_1
            writer.add_tensor(own, quantize(data, as_q4), raw_dtype=as_q4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_gives_the_rows_in_the_order_of_the_model(language_model: LanguageModel, tmp_path: Path) -> None:
    model = language_model.model
    write_gguf(tmp_path / "model.gguf", model, left_out=["up_proj"])
    held = gguf_weights(tmp_path / "model.gguf", model)
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj")  # not down_proj, whose rows are 48 wide
    assert set(held) == {name for name in linears(model) if name.endswith(kinds)}
    for name, weight in held.items():
        original = model.get_submodule(name).weight.detach()
        assert torch.equal(weight.dequantize(), Q4Weight.from_float(original).dequantize()), name


@pytest.mark.assets
@pytest.mark.skipif(not CORE["smollm2-135m"].present(), reason="run: semi fetch smollm2-135m")
def test_smollm2_in_4_bits_is_the_model_of_the_cache_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")  # in bf16, on any CPU
    cached = weights.load("smollm2-135m", None, CPU)
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    ours = weights.load("smollm2-135m", None, CPU)
    layers = linears(cached.model)
    assert len(layers) == 210
    for name, layer in layers.items():
        assert torch.equal(decoded(ours.model.get_submodule(name)), layer.weight), name
    assert (ours.precision, ours.sha256) == (cached.precision, cached.sha256)
    before, after = ({id(t): t.nbytes for t in (*m.parameters(), *m.buffers())} for m in (cached.model, ours.model))
    assert sum(before.values()) - sum(after.values()) == 212_336_640 - 66_355_200  # 16 bits an entry, then 5

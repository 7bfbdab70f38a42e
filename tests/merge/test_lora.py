from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from semi.errors import ArtifactError
from semi.merge.checkpoint import Checkpoint
from semi.merge.header import TensorInfo
from semi.merge.lora import LoraAdapter, LowRank
from tests.merge.conftest import UP, Q, write_adapter


def expected(factors: dict[str, Tensor], module: str, scale: float) -> Tensor:
    """s * B @ A in float64."""
    a, b = (factors[f"{module}.lora_{part}.weight"].double() for part in "AB")
    return scale * (b @ a)


@settings(max_examples=40)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    rank=st.integers(1, 4),
    alpha=st.integers(1, 64),
    rslora=st.booleans(),
    transposed=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    data=st.data(),
)
def test_any_rows_of_a_change_equal_float64(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    columns: int,
    rank: int,
    alpha: int,
    rslora: bool,
    transposed: bool,
    dtype: torch.dtype,
    data: st.DataObject,
) -> None:
    factors = {
        "q.lora_A.weight": torch.randn(rank, columns).to(dtype),
        "q.lora_B.weight": torch.randn(rows, rank).to(dtype),
    }
    folder = tmp_path_factory.mktemp("adapter")
    write_adapter(folder, factors, r=rank, lora_alpha=alpha, use_rslora=rslora, fan_in_fan_out=transposed)
    whole = expected(factors, "q", alpha / (math.sqrt(rank) if rslora else rank))
    whole = whole.T if transposed else whole
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    with LoraAdapter.open(folder) as adapter:
        assert adapter.info("q.weight").shape == tuple(whole.shape)
        part = adapter.delta("q.weight", start, stop)
        assert part.dtype == torch.float32
        tolerance = 1e-6 * (1 + whole.abs().max().item())
        torch.testing.assert_close(part.double(), whole[start:stop], rtol=0, atol=tolerance)
        torch.testing.assert_close(adapter.delta("q.weight").double(), whole, rtol=0, atol=tolerance)


def test_patterns_set_rank_and_alpha_of_the_layers_they_end(tmp_path: Path) -> None:
    def pair(rank: int) -> tuple[Tensor, Tensor]:
        return torch.randn(rank, 3), torch.randn(4, rank)

    factors = {}
    for module, rank in {"layers.0.q": 2, "layers.1.q": 8, "layers.0.up": 4, "layers.0.xup": 2}.items():
        factors[f"{module}.lora_A.weight"], factors[f"{module}.lora_B.weight"] = pair(rank)
    write_adapter(
        tmp_path,
        factors,
        r=2,
        lora_alpha=4,
        rank_pattern={r"layers\.1\.q": 8, "up": 4},
        alpha_pattern={"up": 1, ".*q": 32},
    )
    scales = {"layers.0.q": 16.0, "layers.1.q": 4.0, "layers.0.up": 0.25, "layers.0.xup": 2.0}
    with LoraAdapter.open(tmp_path) as adapter:
        found = {key: adapter.info(key) for key in adapter.keys}
        assert {key: change.scale for key, change in found.items() if isinstance(change, LowRank)} == {
            f"{module}.weight": scale for module, scale in scales.items()
        }


def test_replaced_tensors_and_biases_are_whole(tmp_path: Path, factors: dict[str, Tensor]) -> None:
    head, bias, norm = torch.randn(11, 8), torch.randn(8), torch.randn(8)
    module = Q.removesuffix(".weight")
    whole = {"lm_head.weight": head, f"{module}.base_layer.bias": bias, "norm.modules_to_save.weight": norm}
    write_adapter(tmp_path, factors | whole, bias="lora_only", modules_to_save=["lm_head", "norm"])
    with LoraAdapter.open(tmp_path, "model.") as adapter:
        stripped = module.removeprefix("model.")
        up = UP.removeprefix("model.")
        assert adapter.keys == tuple(
            sorted(["lm_head.weight", f"{stripped}.bias", "norm.weight", f"{stripped}.weight", up])
        )
        assert torch.equal(adapter.read("lm_head.weight", 2, 5), head[2:5])
        assert b"".join(adapter.raw("norm.weight")) == norm.numpy().tobytes()
        assert torch.equal(adapter.read(f"{stripped}.bias").flatten(), bias)
        info = adapter.info(f"{stripped}.bias")
        assert isinstance(info, TensorInfo)
        assert (info.key, info.stored) == (f"{stripped}.bias", f"{module}.bias")
        assert adapter.info(up).stored == UP
        for wrong in (lambda: adapter.delta("lm_head.weight"), lambda: adapter.read(up), lambda: adapter.info("x")):
            with pytest.raises(ArtifactError, match="the adapter h"):
                wrong()


def test_two_names_of_one_tensor_are_told(tmp_path: Path) -> None:
    factors = {f"{module}.lora_{part}.weight": torch.ones(2, 2) for module in ("q", "llm.q") for part in "AB"}
    write_adapter(tmp_path, factors | {"k.bias": torch.ones(2), "k.base_layer.bias": torch.ones(2)})
    with pytest.raises(ArtifactError) as caught:
        LoraAdapter.open(tmp_path, "llm.")
    assert "llm.q.weight and q.weight are one tensor" in str(caught.value)
    assert "k.base_layer.bias and k.bias replace one tensor" in str(caught.value)


REFUSED: dict[str, dict[str, Any]] = {
    "LOKR": {"peft_type": "LOKR"},
    "ADALORA": {"peft_type": "ADALORA"},
    "use_dora": {"use_dora": True},
    "lora_bias": {"lora_bias": True},
    "trainable_token_indices": {"trainable_token_indices": [1]},
    "target_parameters": {"target_parameters": ["experts"]},
    "layer_replication": {"layer_replication": [[0, 1]]},
    "a_setting_to_come": {"a_setting_to_come": {"x": 1}},
    "'pissa_niter_4'": {"init_lora_weights": "pissa_niter_4"},
    "'olora'": {"init_lora_weights": "olora"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_adapters_are_refused_by_name(tmp_path: Path, factors: dict[str, Tensor], name: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        LoraAdapter.open(write_adapter(tmp_path, factors, **REFUSED[name]))
    assert name in str(caught.value)


@pytest.mark.parametrize("start", [True, False, "gaussian", "eva", "orthogonal"])
def test_beginnings_that_leave_the_base_are_read(tmp_path: Path, factors: dict[str, Tensor], start: object) -> None:
    LoraAdapter.open(write_adapter(tmp_path, factors, init_lora_weights=start)).close()


A, B = torch.ones(2, 3), torch.ones(4, 2)
DAMAGED: dict[str, tuple[dict[str, Tensor], dict[str, Any], str]] = {
    "an embedding": ({"e.lora_embedding_A": A, "e.lora_embedding_B": B}, {}, "e.lora_embedding_A is no matrix"),
    "a magnitude": ({"q.lora_magnitude_vector": A}, {}, "q.lora_magnitude_vector is no matrix"),
    "no B": ({"q.lora_A.weight": A}, {}, "q.lora_A.weight lacks its other factor"),
    "no A": ({"q.lora_B.weight": B}, {}, "q.lora_B.weight lacks its other factor"),
    "ranks that differ": ({"q.lora_A.weight": A, "q.lora_B.weight": torch.ones(4, 3)}, {}, "shapes (2, 3) and (4, 3)"),
    "a convolution": ({"q.lora_A.weight": A[..., None, None], "q.lora_B.weight": B}, {}, "shapes (2, 3, 1, 1)"),
    "rank zero": ({"q.lora_A.weight": A[:0], "q.lora_B.weight": B[:, :0]}, {"r": 0}, "shapes (0, 3) and (4, 0)"),
    "another rank": ({"q.lora_A.weight": A, "q.lora_B.weight": B}, {"r": 4}, "rank 4 in adapter_config.json"),
    "no alpha": ({"q.lora_A.weight": A, "q.lora_B.weight": B}, {"lora_alpha": None}, "q: "),
    "an infinite alpha": ({"q.lora_A.weight": A, "q.lora_B.weight": B}, {"lora_alpha": "inf"}, "no finite number"),
    "no pattern": ({"q.lora_A.weight": A, "q.lora_B.weight": B}, {"rank_pattern": {"(": 2}}, "q: "),
    "patterns in a list": ({"q.lora_A.weight": A, "q.lora_B.weight": B}, {"alpha_pattern": ["q"]}, "no mapping"),
    "a change of another shape than what it is added to": (
        {"q.lora_A.weight": A, "q.lora_B.weight": B, "q.base_layer.weight": torch.ones(5, 3)},
        {},
        "q.weight has shape (5, 3), its change (4, 3)",
    ),
}


@pytest.mark.parametrize(("tensors", "config", "message"), DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_plain_lora_is_named(
    tmp_path: Path, tensors: dict[str, Tensor], config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArtifactError) as caught:
        LoraAdapter.open(write_adapter(tmp_path, tensors, **config))
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path, lora_folder: Path) -> None:
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (lora_folder / name).unlink()
        with pytest.raises(ArtifactError, match=name):
            LoraAdapter.open(lora_folder)


def test_a_whole_model_is_no_adapter(base_folder: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no LoRA adapter") as caught:
        LoraAdapter.open(base_folder)
    assert caught.value.got == "a whole model"
    assert "leave `adapter: lora` out" in str(caught.value.do)


PEFT: dict[str, dict[str, Any]] = {
    "plain": {"target_modules": ["q_proj", "up_proj"]},
    "rslora": {"target_modules": ["q_proj", "down_proj"], "use_rslora": True, "r": 4},
    "patterns": {
        "target_modules": "all-linear",
        "rank_pattern": {"up_proj": 2, r"layers\.1\.self_attn\..*": 3},
        "alpha_pattern": {"q_proj": 5},
    },
    "biases": {"target_modules": ["q_proj", "k_proj"], "bias": "all"},
    "a head of its own": {"target_modules": ["v_proj"], "modules_to_save": ["lm_head", "norm"]},
    "a changed head": {"target_modules": ["lm_head"]},
    "Conv1D": {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True},
}


@pytest.mark.parametrize("settings", PEFT.values(), ids=PEFT)
def test_the_base_and_its_changes_are_what_peft_merges(tmp_path: Path, settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a package that is not ours
        peft = pytest.importorskip("peft")
        from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

        torch.manual_seed(0)
        sizes: dict[str, Any] = {"vocab_size": 13, "tie_word_embeddings": False}
        config: Any
        if settings.get("fan_in_fan_out"):
            config = GPT2Config(n_embd=8, n_layer=2, n_head=2, n_positions=16, **sizes)
        else:
            sizes |= {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
            config = LlamaConfig(attention_bias=True, **sizes)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # transformers'
        save_file({key: tensor.clone() for key, tensor in model.state_dict().items()}, tmp_path / "model.safetensors")
        wrapped = peft.get_peft_model(model, peft.LoraConfig(**{"r": 2, "lora_alpha": 6} | settings))
        with torch.no_grad():
            for parameter in wrapped.parameters():
                if parameter.requires_grad:
                    parameter.normal_()
        wrapped.save_pretrained(tmp_path / "adapter")
        merged = {key: tensor.clone() for key, tensor in wrapped.merge_and_unload().state_dict().items()}
    with Checkpoint([tmp_path / "model.safetensors"]) as base, LoraAdapter.open(tmp_path / "adapter") as adapter:
        assert set(adapter.keys) <= set(base.keys)
        for key in base.keys:
            ours = base.read(key)
            if key in adapter.keys:
                change = adapter.info(key)
                if isinstance(change, TensorInfo) or change.onto:
                    ours = adapter.read(key)
                if isinstance(change, LowRank):
                    ours = ours + adapter.delta(key)
            torch.testing.assert_close(ours, merged[key].reshape(ours.shape), rtol=1e-5, atol=1e-5, msg=key)
        changed = [
            key for key in base.keys if not torch.equal(base.read(key), merged[key].reshape(base.read(key).shape))
        ]
        assert changed == list(adapter.keys)

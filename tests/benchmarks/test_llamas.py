"""What the merge benchmarks write is what transformers and `semi merge` read, and depends on the seed alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.llamas import Llama, drawn, same, tuned, write_adapter, write_model
from semi.merge.checkpoint import Checkpoint
from semi.merge.lora import LoraAdapter

TINY = Llama(hidden=16, inner=24, layers=2, heads=4, kv=8, vocabulary=33, tied=False)


@pytest.mark.parametrize("tied", [False, True])
def test_shapes_are_those_of_transformers(tied: bool, tmp_path: Path) -> None:
    llama = Llama(16, 24, 2, 4, 8, 33, tied)
    folder = write_model(tmp_path / "model", llama, drawn(seed=0), shard=3000)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    if tied:
        del expected["lm_head.weight"]
    assert llama.shapes() == expected
    with Checkpoint.open(folder) as opened:
        assert {key: opened.info(key).shape for key in opened.keys} == expected
        assert len({opened.info(key).file for key in opened.keys}) > 1


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    one, again, other = (write_model(tmp_path / f"{i}", TINY, drawn(seed)) for i, seed in enumerate((0, 0, 1)))
    with Checkpoint.open(one) as a, Checkpoint.open(again) as b, Checkpoint.open(other) as c:
        for key in a.keys:
            assert torch.equal(a.read(key), b.read(key))
            assert not torch.equal(a.read(key), c.read(key))


def test_a_fine_tune_is_near_its_base(tmp_path: Path) -> None:
    with Checkpoint.open(write_model(tmp_path / "base", TINY, drawn(seed=0))) as base:
        copy = write_model(tmp_path / "copy", TINY, same(base))
        tune = write_model(tmp_path / "tune", TINY, tuned(base, seed=1, relative=0.02))
        with Checkpoint.open(copy) as exact, Checkpoint.open(tune) as near:
            key = "model.embed_tokens.weight"
            weight, change = base.read(key), near.read(key) - base.read(key)
            assert all(torch.equal(exact.read(key), base.read(key)) for key in base.keys)
            assert float(change.norm() / weight.norm()) == pytest.approx(0.02, rel=0.1)


def test_an_adapter_changes_every_matrix_of_the_layers(tmp_path: Path) -> None:
    with LoraAdapter.open(write_adapter(tmp_path, TINY, seed=0, rank=3)) as adapter:
        assert set(adapter.keys) == set(TINY.linear())
        assert all(adapter.info(key).shape == shape for key, shape in TINY.linear().items())


def test_a_narrower_model_has_as_many_layers() -> None:
    half = TINY.divided(2)
    assert (half.hidden, half.inner, half.kv, half.layers, half.heads) == (8, 12, 4, 2, 4)

"""Numbers of the encoders against the libraries that they come from, and against what they are meant to tell."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from semi.assets.onnx import read_onnx
from semi.errors import ArtifactError, InputError
from transformers import HubertModel, WhisperConfig, WhisperFeatureExtractor, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from semi_plugin_speech.assets import OPENWAKEWORD, RESEMBLYZER, WHISPER_PARTS
from semi_plugin_speech.ctranslate2_file import encoder_tensors, read_variables
from semi_plugin_speech.mel import mel_filters
from semi_plugin_speech.modality import PARTS, Speech
from semi_plugin_speech.pitch import pitch
from semi_plugin_speech.resemblyzer import partials
from semi_plugin_speech.whisper import Whisper, hub_encoder, log_mel

RATE = 16_000
needs_whisper = pytest.mark.skipif(
    not all(asset.present() for asset, _ in WHISPER_PARTS), reason="run: semi fetch speech"
)


@pytest.mark.parametrize("bands", [80, 128])
def test_log_mel_is_that_of_transformers(voice: np.ndarray, bands: int) -> None:
    padded = np.pad(voice, (0, 30 * RATE - len(voice)))
    expected = WhisperFeatureExtractor(feature_size=bands)(voice, sampling_rate=RATE).input_features[0]
    np.testing.assert_allclose(log_mel(padded, bands), expected, atol=1e-3)


def test_states_are_those_of_transformers(whisper_folder: Path, voice: np.ndarray) -> None:
    model = WhisperModel.from_pretrained(whisper_folder).encoder.eval()
    features = torch.from_numpy(log_mel(np.pad(voice, (0, 29 * RATE)), 80))[None]
    with torch.inference_mode():
        expected = model(features).last_hidden_state[0].numpy()
    encoder = Whisper(hub_encoder(str(whisper_folder))[0], "speech/tiny")
    np.testing.assert_allclose(encoder.states(voice), expected[:50], atol=1e-5)  # 50 positions a second
    row = encoder.encode([{"data": voice, "rate": RATE}])
    np.testing.assert_allclose(row[0], expected[:50].mean(0), atol=1e-5)


def test_parts_keep_the_order_of_time(whisper_folder: Path, voice: np.ndarray) -> None:
    encoder = Whisper(hub_encoder(str(whisper_folder))[0], "speech/tiny", parts=PARTS)
    states = encoder.states(voice)
    (found,) = encoder.encode([{"data": voice, "rate": RATE}])
    assert found.shape == (PARTS, 16)
    np.testing.assert_allclose(found[0], states[:7].mean(0), atol=1e-6)
    np.testing.assert_allclose(found[-1], states[43:].mean(0), atol=1e-6)
    assert encoder.encode([{"data": voice[:1600], "rate": RATE}]).shape == (1, PARTS, 16)  # 5 positions
    assert encoder.encode([]).shape == (0, PARTS, 16)


def test_ids_tell_models_and_modes_apart(whisper_folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    WhisperModel(WhisperConfig.from_pretrained(whisper_folder)).save_pretrained(tmp_path)
    models = [hub_encoder(str(folder)) for folder in (whisper_folder, tmp_path, whisper_folder)]
    assert models[0][1] == models[2][1] != models[1][1]
    modes = ({}, {"quick": True}, {"parts": PARTS})
    assert len({Whisper(models[0][0], "speech/x", **mode).id for mode in modes}) == 3


@pytest.mark.assets
@needs_whisper
def test_whisper_base_hears_the_same_in_both_speeds(files: Sequence[Path]) -> None:
    full, quick = (Speech().encoder(name) for name in ("whisper-base", "whisper-base-quick"))
    assert (full.id, full.width) == ("speech/whisper-base@1", 512)
    one, other = full.encode(files), quick.encode(files)
    likeness = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert likeness.min() > 0.9
    assert full.encode([files[0]]).tobytes() == one[:1].tobytes()


@pytest.mark.assets
@pytest.mark.skipif(not RESEMBLYZER.present(), reason="run: semi fetch resemblyzer")
def test_speakers_have_unit_length(files: Sequence[Path]) -> None:
    rows = Speech().encoder("resemblyzer").encode(files)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert (rows >= 0).all()


@pytest.mark.parametrize(("seconds", "looks"), [(0.3, 1), (1.6, 1), (3.0, 3), (10.0, 12)])
def test_looks_of_resemblyzer(voice: np.ndarray, seconds: float, looks: int) -> None:
    found = partials(np.resize(voice, int(seconds * RATE)))
    assert found.shape == (looks, 160, 40)
    assert np.isfinite(partials(np.zeros(RATE, np.float32))).all()


@pytest.mark.assets
@pytest.mark.skipif(not OPENWAKEWORD.present(), reason="run: semi fetch openwakeword")
def test_wake_words_move_on_by_80_ms(voice: np.ndarray) -> None:
    encoder = Speech().encoder("openwakeword")
    signal = np.resize(voice, 3 * RATE)
    states = encoder.states(signal)  # type: ignore[attr-defined]
    assert states.shape == (28, 96)  # 297 frames
    later = encoder.states(signal[1280:])  # type: ignore[attr-defined]
    np.testing.assert_allclose(later, states[1:], atol=2e-3)


def test_hubert_is_that_of_transformers(hubert_folder: Path, voice: np.ndarray) -> None:
    model = HubertModel.from_pretrained(hubert_folder).eval()
    scaled = torch.from_numpy((voice - voice.mean()) / np.sqrt(voice.var() + 1e-7))[None]
    with torch.inference_mode():
        expected = model(scaled).last_hidden_state[0].mean(0).numpy()
    encoder = Speech().encoder(f"wavlm:{hubert_folder}")
    assert encoder.id.startswith("speech/hubert-")
    np.testing.assert_allclose(encoder.encode([{"data": voice, "rate": RATE}])[0], expected, atol=1e-5)


def test_models_of_another_kind_are_refused(whisper_folder: Path, hubert_folder: Path, tmp_path: Path) -> None:
    for name in (f"whisper:{hubert_folder}", f"whisper:{tmp_path}", f"wavlm:{whisper_folder}", f"wavlm:{tmp_path}"):
        with pytest.raises(InputError):
            Speech().encoder(name)
    for name in ("vosk", "resemblyzer:x", "whisper-base:x"):
        with pytest.raises(InputError, match="no encoder") as error:
            Speech().encoder(name)
        assert "whisper:FOLDER" in str(error.value)


def test_a_whisper_without_its_weights_is_named(whisper_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(whisper_folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "encoder.conv2" not in k}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((whisper_folder / "config.json").read_text())
    with pytest.raises(ArtifactError, match="lacks weights"):
        hub_encoder(str(tmp_path))


def ctranslate2_file(variables: dict[str, np.ndarray], kind: str = "WhisperSpec") -> bytes:
    """A model as CTranslate2 writes it."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    content = struct.pack("<I", 6) + text(kind) + struct.pack("<II", 3, len(variables))
    for name, values in variables.items():
        stored = values.astype("<f2")
        content += text(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        content += struct.pack("<BI", 4, stored.nbytes) + stored.tobytes()
    return content + struct.pack("<I", 0)


def as_ctranslate2(model: WhisperEncoder) -> dict[str, np.ndarray]:
    """A model's tensors under the names of CTranslate2."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    found = {
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
        "encoder/layer_norm/gamma": state["layer_norm.weight"],
        "encoder/layer_norm/beta": state["layer_norm.bias"],
    }
    for part in ("weight", "bias"):
        for conv in ("conv1", "conv2"):
            found[f"encoder/{conv}/{part}"] = state[f"{conv}.{part}"]
    for layer in range(model.config.encoder_layers):
        there, here = f"encoder/layer_{layer}", f"layers.{layer}"
        for part, other in (("weight", "gamma"), ("bias", "beta")):
            found[f"{there}/self_attention/layer_norm/{other}"] = state[f"{here}.self_attn_layer_norm.{part}"]
            found[f"{there}/ffn/layer_norm/{other}"] = state[f"{here}.final_layer_norm.{part}"]
            found[f"{there}/self_attention/linear_1/{part}"] = state[f"{here}.self_attn.out_proj.{part}"]
            found[f"{there}/ffn/linear_0/{part}"] = state[f"{here}.fc1.{part}"]
            found[f"{there}/ffn/linear_1/{part}"] = state[f"{here}.fc2.{part}"]
            names = [f"{here}.self_attn.{one}_proj.{part}" for one in "qkv"]
            rows = [state.get(name, np.zeros(model.config.d_model, np.float32)) for name in names]
            found[f"{there}/self_attention/linear_0/{part}"] = np.concatenate(rows)
    return found


def test_a_file_of_ctranslate2_gives_back_the_model(whisper_folder: Path) -> None:
    model = WhisperModel.from_pretrained(whisper_folder).encoder.half()
    tensors = encoder_tensors(dict(read_variables(ctranslate2_file(as_ctranslate2(model)))))
    wanted = model.state_dict()
    assert set(tensors) == set(wanted)
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, wanted[name].float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [3, 30, 200, -10])
def test_a_broken_file_of_ctranslate2_is_named(size: int) -> None:
    content = ctranslate2_file({"encoder/conv1/weight": np.zeros((4, 3, 3), np.float32)})
    with pytest.raises(ArtifactError, match="not a whole Whisper"):
        list(read_variables(content[:size] if size != 200 else ctranslate2_file({}, kind="TransformerSpec")))


def test_a_broken_onnx_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x3a\xff\xff\x03abc")
    with pytest.raises(ArtifactError, match="cannot be read as ONNX"):
        read_onnx(tmp_path / "model.onnx")


def test_mel_bands_have_equal_areas() -> None:
    weights = mel_filters(40, 4096, RATE)
    areas = weights.sum(1) * RATE / 4096
    np.testing.assert_allclose(areas, 1, rtol=0.02)
    assert (np.diff(weights.argmax(1)) > 0).all()


@pytest.mark.parametrize("hertz", [80, 120, 210, 330])
def test_pitch_is_found(hertz: int) -> None:
    time = np.arange(RATE) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2, 3, 5))
    found, periodic = pitch(np.asarray(tone), RATE)
    assert np.median(found) == pytest.approx(hertz, rel=0.02)
    assert periodic.min() > 0.9
    noise = np.random.default_rng(0).normal(size=RATE)
    assert np.median(pitch(noise, RATE)[1]) < 0.5
    assert len(pitch(np.zeros(RATE), RATE)[0]) == 0

"""The encoders: on synthetic movements, on the real weights, on a small random model of the hub's kind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from semi.assets.onnx import read_onnx
from semi.errors import ArtifactError, AssetError, InputError
from semi.modality import Encoder
from transformers import PatchTSTConfig, PatchTSTForPrediction, PatchTSTModel

from semi_plugin_imu import plugin
from semi_plugin_imu.assets import RIANN
from semi_plugin_imu.modality import Imu
from semi_plugin_imu.riann import gru
from semi_plugin_imu.statistics import BANDS, CHANNELS, FEATURES, variance_in_bands

needs_weights = pytest.mark.skipif(not RIANN.present(), reason="run: semi fetch riann")


@pytest.fixture(params=["statistics", pytest.param("riann", marks=[pytest.mark.assets, needs_weights]), "patchtst"])
def encoder(request: pytest.FixtureRequest, patchtst: Path) -> Encoder:
    return Imu().encoder(f"patchtst:{patchtst}" if request.param == "patchtst" else request.param)


@pytest.fixture
def samples(movement: np.ndarray) -> list[dict[str, Any]]:
    """Another length, another rate, and at rest."""
    forms = ((movement, 50), (movement[:70], 50), (np.repeat(movement, 2, axis=0), 100), (movement[:60] * 0 + 1, 20))
    return [Imu().parse({"data": values, "rate": rate, "units": "SI"}) for values, rate in forms]


def test_a_sample_does_not_feel_its_batch(encoder: Encoder, samples: list[dict[str, Any]]) -> None:
    together = encoder.encode(samples)
    assert together.shape == (len(samples), encoder.width)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([sample]) for sample in samples]))
    assert encoder.encode([]).shape == (0, encoder.width)


def test_threads_do_not_feel_each_other(encoder: Encoder, samples: list[dict[str, Any]]) -> None:
    expected = encoder.encode(samples)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(encoder.encode, [samples] * 8):
            np.testing.assert_array_equal(found, expected)


def test_units_and_rate_do_not_matter(encoder: Encoder, movement: np.ndarray) -> None:
    scaled = movement / np.repeat([9.80665, np.pi / 180], 3)
    units = {"acceleration": "g", "gyroscope": "deg/s"}
    time = np.arange(800) / 200
    finer = np.stack([np.interp(time, np.arange(200) / 50, axis) for axis in movement.T], axis=1)[:797]
    si, other, resampled = encoder.encode(
        [
            {"data": movement, "rate": 50, "units": "SI"},
            {"data": scaled, "rate": 50, "units": units},
            {"data": finer, "rate": 200, "units": "SI"},
        ]
    )
    np.testing.assert_allclose(other, si, atol=2e-5)
    upside_down = encoder.encode([{"data": -movement, "rate": 50, "units": "SI"}])[0]
    assert np.linalg.norm(resampled - si) < 0.35 * np.linalg.norm(upside_down - si)


def test_an_absent_quantity(movement: np.ndarray, encoder: Encoder) -> None:
    only = {"data": movement[:, :3], "rate": 50, "units": {"acceleration": "m/s^2"}}
    if encoder.width != CHANNELS * FEATURES:
        with pytest.raises(InputError, match="needs acceleration and angular velocity"):
            encoder.encode([only])
        return
    (found,), (both,) = encoder.encode([only]), encoder.encode([{"data": movement, "rate": 50, "units": "SI"}])
    np.testing.assert_array_equal(found[:48], both[:48])
    assert not found[48:].any()


def test_variance_falls_into_its_band() -> None:
    time = np.arange(200) / 50
    for band, hertz in enumerate((0.5, 1.25, 2.5, 5.0, 12.0)):
        assert BANDS[band] < hertz <= BANDS[band + 1]
        found = variance_in_bands(np.sin(2 * np.pi * hertz * time)[:, None])[:, 0]
        assert found.argmax() == band
        assert found.sum() == pytest.approx(0.5, rel=0.05)


def test_statistics_are_those_of_numpy(movement: np.ndarray) -> None:
    found = Imu().encoder("statistics").encode([{"data": movement, "rate": 50, "units": "SI"}])[0]
    x = movement[:, 0] / 9.80665
    by_channel = found.reshape(CHANNELS, FEATURES)
    np.testing.assert_allclose(by_channel[0, :5], (x.mean(), x.std(), x.min(), x.max(), np.median(x)), rtol=1e-5)
    length = np.linalg.norm(movement[:, 3:] / 2, axis=1)
    np.testing.assert_allclose(by_channel[7, 0], length.mean(), rtol=1e-5)


@pytest.mark.parametrize("steps", [25, 100, 201, 350, 1000, 3000])
def test_the_network_of_statistics_gives_its_embedding(steps: int) -> None:
    g = np.random.default_rng(steps)
    time = np.arange(steps)[:, None] / 50
    moved = g.normal(size=6) * np.sin(2 * np.pi * g.uniform(0, 25, 6) * time) + 0.1 * g.normal(size=(steps, 6))
    sample = Imu().parse({"data": moved + np.eye(6)[2] * 9.81, "rate": 50, "units": "SI"})
    encoder = Imu().encoder("statistics")
    network = encoder.network()  # type: ignore[attr-defined]
    found = network.module(torch.from_numpy(network.prepare(sample))).numpy()
    np.testing.assert_allclose(found, encoder.encode([sample])[0], atol=1e-5)


def test_the_network_of_statistics_needs_both_quantities() -> None:
    sample = Imu().parse({"data": np.ones((50, 3)), "rate": 50, "units": "SI"})
    with pytest.raises(InputError, match="needs acceleration and angular velocity"):
        Imu().encoder("statistics").network().prepare(sample)  # type: ignore[attr-defined]


FIRST = (0.135664, 0.339411, -0.138501, -0.064089)
SECOND = (-0.3664, -0.845361, -0.173448, -0.191779)


@pytest.mark.assets
@needs_weights
def test_riann_keeps_the_numbers_of_onnx_runtime() -> None:
    """Final states that ONNX Runtime 1.31.1 gives for the same input; the attitude follows from the second layer."""
    time = np.arange(100) / 50
    measured = np.stack((np.sin(time), np.cos(time), 9.81 + 0 * time, time / 2, 0.1 + 0 * time, -time / 4), axis=1)
    first, second = Imu().encoder("riann").states(measured)  # type: ignore[attr-defined]
    np.testing.assert_allclose(first[-1, :4], FIRST, atol=1e-5)
    np.testing.assert_allclose(second[-1, :4], SECOND, atol=1e-5)


def test_gates_of_onnx_in_the_order_of_torch() -> None:
    """Against the equations of the ONNX operator GRU, linear_before_reset=1."""
    rng = np.random.default_rng(0)
    w, r, b = (rng.normal(0, 0.3, shape).astype(np.float32) for shape in ((1, 600, 7), (1, 600, 200), (1, 1200)))
    x = rng.normal(size=(5, 7)).astype(np.float32)
    found = gru(w, r, b)(torch.from_numpy(x))[0].numpy()

    def sigmoid(value: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-value))

    h = np.zeros(200, np.float32)
    of_input, of_state = np.split(b[0], 2)
    for step, expected in zip(x, found, strict=True):
        (zi, ri, hi), (zs, rs, hs) = np.split(w[0] @ step + of_input, 3), np.split(r[0] @ h + of_state, 3)
        update = sigmoid(zi + zs)
        h = (1 - update) * np.tanh(hi + sigmoid(ri + rs) * hs) + update * h
        np.testing.assert_allclose(expected, h, atol=1e-5)


@pytest.mark.assets
@needs_weights
def test_a_damaged_onnx_file_is_named(tmp_path: Path) -> None:
    data = RIANN.path("riann/riann.onnx").read_bytes()
    assert len(read_onnx(RIANN.path("riann/riann.onnx"))) == 10
    for number, content in enumerate((data[:1000], b"", b"\x0fnot a model")):
        (tmp_path / f"{number}.onnx").write_bytes(content)
        with pytest.raises(ArtifactError, match=rf"{number}\.onnx"):
            read_onnx(tmp_path / f"{number}.onnx")


def test_patchtst_reads_what_lies_in_its_context(patchtst: Path, movement: np.ndarray) -> None:
    encoder = Imu().encoder(f"patchtst:{patchtst}")
    assert encoder.width == 6 * 8 + 12
    assert Imu().encoder(f"patchtst:{patchtst}").id == encoder.id
    whole, end, short = encoder.encode(
        [{"data": values, "rate": 50, "units": "SI"} for values in (movement, movement[-128:], movement[-64:])]
    )
    np.testing.assert_array_equal(whole, end)
    assert np.abs(short - end).max() > 1e-3
    np.testing.assert_allclose(short[48:51], movement[-64:, :3].mean(0) / 9.80665, rtol=1e-5)


def test_models_that_cannot_be_used_are_named(patchtst: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        Imu().encoder(f"patchtst:{tmp_path}")
    PatchTSTModel(PatchTSTConfig(num_input_channels=6, share_embedding=False, d_model=16)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="cannot read the six axes"):
        Imu().encoder(f"patchtst:{tmp_path}")
    deeper = PatchTSTConfig.from_pretrained(patchtst, num_hidden_layers=3)
    deeper.save_pretrained(tmp_path)
    shutil.copy(patchtst / "model.safetensors", tmp_path)
    with pytest.raises(ArtifactError, match="lacks weights"):
        Imu().encoder(f"patchtst:{tmp_path}")


def test_the_heart_of_a_forecaster_is_read(patchtst: Path, tmp_path: Path, movement: np.ndarray) -> None:
    whole = PatchTSTForPrediction(PatchTSTConfig.from_pretrained(patchtst))
    whole.model.load_state_dict(PatchTSTModel.from_pretrained(patchtst).state_dict())
    whole.save_pretrained(tmp_path)
    sample = {"data": movement, "rate": 50, "units": "SI"}
    alone, inside = (Imu().encoder(f"patchtst:{folder}").encode([sample]) for folder in (patchtst, tmp_path))
    np.testing.assert_array_equal(inside, alone)


@pytest.mark.parametrize("name", ["vgg", "riann:folder", "statistics:x"])
def test_unknown_encoder_names_the_known(name: str) -> None:
    with pytest.raises(InputError) as error:
        Imu().encoder(name)
    assert "riann, statistics, patchtst" in str(error.value)


def test_weights_that_were_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path))
    with pytest.raises(AssetError) as error:
        Imu().encoder()
    assert "semi fetch riann" in str(error.value)


def test_hooks_answer_to_their_names_only_and_nothing_heavy_is_imported() -> None:
    assert plugin.semi_modality("text") is None
    assert plugin.semi_dataset("text") is None
    for name in ("imu", "basic-motions"):
        data = plugin.semi_dataset(name)
        assert data is not None
        assert (data.name, data.modality) == (name, "imu")
    code = (
        "import sys; from semi_plugin_imu import plugin; m = plugin.semi_modality('imu'); m.encoder('statistics');"
        "print([n for n in ('torch', 'transformers', 'rosbags', 'pyarrow') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_drawing_is_svg(sample: dict[str, Any], movement: np.ndarray) -> None:
    drawing = Imu().draw(Imu().parse(sample))
    assert drawing is not None
    assert drawing.count("<polyline") == 6
    assert drawing.startswith("<svg")
    assert "4 s</text>" in drawing
    only = Imu().draw({"data": movement[:, :3] * 0, "rate": 50, "units": {"acceleration": "g"}})
    assert only is not None
    assert only.count("<polyline") == 3
    assert Imu().draw("nothing") is None

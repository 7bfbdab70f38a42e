"""The checks of `semi.testing`: a sound modality passes all, and each fault fails the check that is about it."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import socket
import threading
import time
from typing import Any

import numpy as np
import pytest

from semi.errors import AssetError, InputError, PairsError
from semi.modality import Modality
from semi.testing import ConformanceError, ModalityConformance, conformance
from semi.testing.conformance import checks
from semi.vectors import Vectors


class Sums:
    """Sum and length of numbers that come with a rate."""

    id = "sums/plain@1"
    width = 2

    def encode(self, samples: Any) -> np.ndarray:
        rows = [[np.sum(s["values"]) / s["rate_hz"], len(s["values"])] for s in samples]
        return np.array(rows, np.float32).reshape(-1, self.width)


class Sounds(Modality):
    name = "sums"
    instruction = "Describe these numbers."
    encoders = ("plain", "other")
    Encoder: Any = Sums

    def encoder(self, name: str | None = None) -> Any:
        if name not in (None, "plain", "other"):
            raise InputError("no such encoder", got=name)
        return self.Encoder()

    def parse(self, sample: Any, *, folder: Any = None) -> Any:
        if not isinstance(sample, dict) or set(sample) != {"rate_hz", "units", "values"}:
            raise PairsError("not a sample", got=repr(sample))
        rate, values = sample["rate_hz"], np.array(sample["values"], np.float64)
        if not isinstance(rate, int | float) or not np.isfinite(rate) or rate <= 0 or sample["units"] != {"acc": "m/s"}:
            raise PairsError("another rate or unit", got=repr(sample))
        if not np.isfinite(values).all():
            raise PairsError("not finite")
        return {"rate_hz": rate, "units": sample["units"], "values": values}


def sample(*values: float) -> dict[str, Any]:
    return {"rate_hz": 2, "units": {"acc": "m/s"}, "values": list(values)}


SAMPLES = (sample(1, 2, 3), sample(4, 5), sample(6, 7, 8, 9))


class TestSound(ModalityConformance):
    """As the author of a plugin uses it."""

    modality = Sounds()
    samples = SAMPLES
    refused = ("3 m", {"values": [1.0]})


class TestSecondEncoder(ModalityConformance):
    modality = Sounds()
    encoder = "other"
    samples = SAMPLES


class TestVectors(ModalityConformance):
    modality = Vectors()
    samples = Vectors.examples


class TestEncoderAlone(ModalityConformance):
    encoder = Sums()
    samples = tuple(Sounds().parse(each) for each in SAMPLES)


def failed(encoder: Any = Sums, *, samples: Any = SAMPLES, **changes: Any) -> dict[str, str]:
    """The checks that fail for a changed encoder or modality, with their messages."""
    modality = type("Changed", (Sounds,), {"Encoder": encoder, **changes})()
    return {f.check: f.message or "" for f in conformance(modality, samples) if f.state == "failed"}


def faulty(**members: Any) -> type:
    return type("Faulty", (Sums,), members)


def encoding(function: Any) -> type:
    """An encoder whose result goes through `function(result, samples)`."""
    return faulty(encode=lambda self, samples: function(Sums.encode(self, samples), samples))


def noisy(result: np.ndarray, _: Any) -> np.ndarray:
    return result + np.float32(time.perf_counter_ns() % 1009)


def unsettled(result: np.ndarray, samples: Any) -> np.ndarray:
    for each in samples:
        each["values"][0] += 1
    return result


class Shared(Sums):
    """Keeps its arguments on itself, as if it were never shared."""

    def encode(self, samples: Any) -> np.ndarray:
        self.samples = samples
        time.sleep(0.01)
        return super().encode(self.samples)


class Cached(Sums):
    """Gives away its cache."""

    def __init__(self) -> None:
        self.cache: dict[str, np.ndarray] = {}

    def encode(self, samples: Any) -> np.ndarray:
        return self.cache.setdefault(repr(samples), super().encode(samples))


def connect(result: np.ndarray, _: Any) -> np.ndarray:
    with contextlib.suppress(OSError):  # hidden, and found nevertheless
        socket.create_connection(("localhost", 9), timeout=0.1)
    return result


def meddle(what: str) -> Any:
    def function(result: np.ndarray, _: Any) -> np.ndarray:
        if what == "seed":
            random.seed(len(result) + time.time_ns())
        elif what == "environment":
            os.environ["SEMI_TEST_MEDDLER"] = str(time.time_ns())
        elif what == "logging":
            logging.getLogger().setLevel(logging.getLogger().level + 1)
        else:
            np.random.seed(time.time_ns() % 2**32)
        return result

    return function


def exports(factor: float, dtype: Any = np.float32) -> Any:
    def prepare(sample: Any) -> np.ndarray:
        return Sums().encode([sample])[0].astype(dtype)

    def network(self: Any) -> Any:
        import torch  # here: this module is checked for importing it

        from semi.export import Network

        class Scale(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return factor * x

        return Network(Scale(), prepare, (2,), "float32", "sum and length")

    return network


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "id": ({"encoder": faulty(id="plain")}, "id", "modality/encoder@version"),
    "id of another": ({"encoder": faulty(id="other/plain@1")}, "id", "sums/..."),
    "no array": ({"encoder": encoding(lambda r, s: r.tolist())}, "shape", "list"),
    "a row too few": ({"encoder": encoding(lambda r, s: r[1:])}, "shape", "(2, 2)"),
    "width": ({"encoder": faulty(width=3, encode=lambda s, x: Sums.encode(Sums(), x))}, "width", "the int 2"),
    "dtype": ({"encoder": encoding(lambda r, s: r.astype(np.float64))}, "dtype", "float64"),
    "not finite": ({"encoder": encoding(lambda r, s: r / np.float32(0))}, "finite", "NaN or infinite"),
    "blind": ({"encoder": encoding(lambda r, s: r * 0)}, "samples_differ", "equal rows"),
    "noise": ({"encoder": encoding(noisy)}, "deterministic", "dropout"),
    "batch norm": ({"encoder": encoding(lambda r, s: r - r.mean(0))}, "batch_equals_single", "over the batch"),
    "sorted": ({"encoder": encoding(lambda r, s: np.sort(r, axis=0))}, "order_is_kept", "in the order given"),
    "empty": ({"encoder": encoding(lambda r, s: r if len(s) else 1 / 0)}, "empty_batch", "ZeroDivisionError"),
    "writes": ({"encoder": encoding(unsettled)}, "samples_stay_as_they_are", "copy"),
    "cache": ({"encoder": Cached}, "embeddings_are_the_callers", "not a view of a cache"),
    "threads": ({"encoder": Shared}, "threads", "on the encoder"),
    "network": ({"encoder": encoding(connect)}, "no_network", "localhost"),
    "exports another": ({"encoder": faulty(network=exports(2.0))}, "exported_network", "a difference of"),
    "exports float64": ({"encoder": faulty(network=exports(1.0, np.float64))}, "exported_network", "float64 (2,)"),
    "seed": ({"encoder": encoding(meddle("seed"))}, "global_state", "random's state"),
    "numpy seed": ({"encoder": encoding(meddle("numpy"))}, "global_state", "numpy.random's state"),
    "environment": ({"encoder": encoding(meddle("environment"))}, "global_state", "os.environ"),
    "logging": ({"encoder": encoding(meddle("logging"))}, "global_state", "logging"),
    "prints": ({"encoder": encoding(lambda r, s: print("done") or r)}, "prints_nothing", "done"),
    "name": ({"name": "Two Words"}, "modality_is_named", "Two Words"),
    "instruction": ({"instruction": ""}, "instruction", "Describe"),
    "encoders": ({"encoders": ("plain", "plain")}, "encoders_are_named", "different names"),
    "unknown": ({"encoder_": None}, "unknown_encoder_is_refused", "no error"),
    "takes all": ({"parse": lambda self, s, folder=None: Sounds.parse(self, s or SAMPLES[0])},
                  "invalid_samples_are_refused", "None"),
    "type error": ({"parse": lambda self, s, folder=None: Sounds.parse(self, {**s})},
                   "invalid_samples_are_refused", "TypeError"),
    "rate": ({"parse": lambda self, s, folder=None: Sounds.parse(self, {**s, "rate_hz": 2} if s else s)},
             "wrong_rates_and_units_are_refused", "rate_hz = 0"),
    "unit": ({"parse": lambda self, s, folder=None: Sounds.parse(self, {**s, "units": {"acc": "m/s"}} if s else s)},
             "wrong_rates_and_units_are_refused", "units.acc = 'furlong'"),
    "gaps": ({"parse": lambda self, s, folder=None: {**s, "values": np.array(s["values"])}},
             "nan_and_infinity", "not finite"),
    "once": ({"parse": lambda self, s, folder=None: Sounds.parse(self, s)["values"]}, "parse_repeats", "refuses"),
    "draws": ({"draw": lambda self, s: "<img src='https://elsewhere/a.png'>"}, "drawings_stand_alone", "elsewhere"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_check(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes, check, says = FAULTS[fault]
    monkeypatch.setenv("SEMI_TEST_MEDDLER", "")
    level, states = logging.getLogger().level, (random.getstate(), np.random.get_state())
    if "encoder_" in changes:
        changes = {"encoder": Sums}
        monkeypatch.setattr(Sounds, "encoder", lambda self, name=None: Sums())
    try:
        with np.errstate(all="ignore"):
            found = failed(**changes)
    finally:
        logging.getLogger().setLevel(level)
        random.setstate(states[0])
        np.random.set_state(states[1])
    assert check in found, found
    assert says in found[check]


def test_every_message_tells_what_got_expected_and_what_to_do() -> None:
    for message in failed(encoding(lambda r, s: (r.astype(np.float64) - r.mean(0))[::-1])).values():
        assert "\n  got: " in message
        assert "\n  expected: " in message
        assert "\n  do this: " in message


def test_there_are_about_twenty_checks_and_each_says_what_it_is_about() -> None:
    assert len(checks()) >= 20
    assert all(check.__doc__ for check in checks().values())


def test_pytest_and_the_function_run_the_same_checks() -> None:
    methods = {name for name in dir(ModalityConformance) if name.startswith("test_")}
    assert methods == set(checks())
    found = list(conformance(Sounds(), SAMPLES))
    assert {f"test_{finding.check}" for finding in found} == methods
    assert {finding.state for finding in found} <= {"passed", "skipped"}


def test_another_encoder_is_tried_without_the_modality_again() -> None:
    found = {finding.check for finding in conformance(Sounds(), SAMPLES, encoder="other", first=False)}
    assert "threads" in found
    assert "instruction" not in found


def test_weights_that_were_not_fetched_skip_the_checks() -> None:
    class Unfetched(Sounds):
        def encoder(self, name: str | None = None) -> Any:
            raise AssetError("net has not been fetched", do="semi fetch net")

    (finding,) = conformance(Unfetched(), SAMPLES)
    assert (finding.state, finding.message) == ("skipped", "net has not been fetched; semi fetch net")


@pytest.mark.parametrize(("first", "state"), [(True, "failed"), (False, "skipped")])
def test_an_encoder_that_needs_an_extra(first: bool, state: str) -> None:
    class Extra(Sounds):
        def encoder(self, name: str | None = None) -> Any:
            raise InputError("an extra is missing", do="pip install 'x[y]'")

    (finding,) = conformance(Extra(), SAMPLES, first=first)
    assert finding.state == state
    assert "pip install" in (finding.message or "")


def test_two_samples_are_too_few() -> None:
    assert "too few samples" in failed(samples=SAMPLES[:2])["shape"]


def test_a_failure_is_an_assertion_to_pytest() -> None:
    assert issubclass(ConformanceError, AssertionError)


PLUGIN = """
    import time
    {heavy}
    from semi.modality import Modality

    class Encoder:
        width = 1
        id = {id}

        def encode(self, samples):
            import numpy as np
            return np.array([[len(s)] for s in samples], np.float32).reshape(-1, 1)

    class Thing(Modality):
        name, instruction = "thing", "Describe this."

        def encoder(self, name=None):
            return Encoder()
"""
IMPORTS = {
    "torch": ({"heavy": "import torch", "id": "'thing/a@1'"}, "test_no_torch_at_import", "torch"),
    "slow": ({"heavy": "while time.process_time() < 3: pass", "id": "'thing/a@1'"}, "test_speed_of_import", "seconds"),
    "id": ({"heavy": "", "id": "f'thing/{hash(\"a\")}@1'"}, "test_id_in_another_process", "no hash()"),
    "sound": ({"heavy": "", "id": "'thing/a@1'"}, "", ""),
}


@pytest.mark.parametrize("how", IMPORTS)
def test_what_an_import_does_is_seen_in_another_process(
    install: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semi.testing.isolation_checks.ATTEMPTS", 1)
    parts, check, says = IMPORTS[how]
    install("fake-thing", code=PLUGIN.format(**parts))
    import fake_thing  # type: ignore[import-not-found]

    subject = type("Subject", (ModalityConformance,), {"modality": fake_thing.Thing(), "samples": ["a", "bb", "ccc"]})()
    for name in {"test_no_torch_at_import", "test_id_in_another_process"} | {check or "test_speed_of_import"}:
        if name == check:
            with pytest.raises(ConformanceError, match=re.escape(says)):
                getattr(subject, name)()
        else:
            getattr(subject, name)()


def test_the_lock_of_the_threads_test_is_real() -> None:
    """The faulty encoder really fails under threads, so that the check can."""
    encoder, results = Shared(), []
    parsed = [Sounds().parse(each) for each in SAMPLES]
    threads = [threading.Thread(target=lambda s=s: results.append(encoder.encode([s])[0, 1])) for s in parsed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) != [2, 3, 4]

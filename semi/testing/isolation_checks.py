"""Checks of what a plugin does beside its work: network, global state, output, and what its import costs."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import locale
import logging
import os
import random
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from semi.testing.subject import Subject

HEAVY = ("torch", "transformers", "tensorflow", "jax")
IMPORT_LIMIT = 1.0
"""Seconds of CPU time for importing the plugin, without what semi itself imports."""
ATTEMPTS = 3
_IMPORTS = f"""
import sys, time, json, importlib
import numpy, semi.assets, semi.pairs, semi.plugins, semi.testing
before = set(sys.modules)
begin = time.process_time()
importlib.import_module(sys.argv[1])
seconds = time.process_time() - begin
heavy = [name for name in {HEAVY!r} if name in sys.modules and name not in before]
print("\\n" + json.dumps({{"seconds": seconds, "heavy": heavy}}))
"""
_ID = """
import sys, functools, importlib
module, name, encoder = sys.argv[1:4]
thing = functools.reduce(getattr, name.split("."), importlib.import_module(module))
print("\\n" + thing().encoder(encoder or None).id)
"""


class IsolationChecks(Subject):
    """A plugin is a guest in its user's process."""

    def test_no_network(self) -> None:
        """Loading the encoder and encoding reach for no network."""
        self.embeddings()
        tried: list[str] = []
        with _offline(tried), contextlib.suppress(OSError):
            self.fresh().encode(self.parsed())
        if tried:
            self.fail(
                "the encoder reaches for the network",
                got=tried[0],
                expected="no connection",
                do="name weights as assets, which `semi fetch` brings, and load them from there",
            )

    def test_global_state(self) -> None:
        """Loading the encoder and encoding leave the process as it was."""
        self.embeddings()  # what is imported on first use is not the encoder's doing
        before = _state()
        encoder = self.fresh()
        self._require_unchanged(before, _state(), "loading the encoder")
        before = _state() | _random_states()
        encoder.encode(self.parsed())
        self._require_unchanged(before, _state() | _random_states(), "encoding")

    def _require_unchanged(self, before: dict[str, Any], after: dict[str, Any], deed: str) -> None:
        changed = [name for name in before if not _equal(before[name], after.get(name))]
        if changed:
            self.fail(
                f"{deed} changes the state of the whole process",
                got=", ".join(changed),
                expected="everything as it was",
                do="use generators, contexts and arguments of your own, and put back what you must change",
            )

    def test_prints_nothing(self) -> None:
        """Loading the encoder and encoding print nothing."""
        self.embeddings()
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            self.fresh().encode(self.parsed())
        if output.getvalue():
            self.fail(
                "the encoder prints",
                got=repr(output.getvalue()[:80]),
                expected="no output",
                do="use the logging module for what authors want to know, and exceptions for what users must know",
            )

    def test_no_torch_at_import(self) -> None:
        """Importing the plugin imports no deep-learning framework: `semi fetch` and `semi doctor` stay quick."""
        heavy = self._imported()["heavy"]
        if heavy:
            self.fail(
                f"importing {self._module()} imports {' and '.join(heavy)}",
                got=", ".join(heavy),
                expected=f"none of {', '.join(HEAVY)}",
                do="import them inside `encoder`, e.g. with the module that holds the network",
            )

    def test_speed_of_import(self) -> None:
        """Importing the plugin takes less than a second of its own."""
        seconds = self._imported()["seconds"]
        for _ in range(ATTEMPTS - 1):
            if seconds < IMPORT_LIMIT:
                break
            self._kept.pop("imported", None)
            seconds = min(seconds, self._imported()["seconds"])
        if seconds >= IMPORT_LIMIT:
            self.fail(
                f"importing {self._module()} is slow",
                got=f"{seconds:.2f} seconds",
                expected=f"less than {IMPORT_LIMIT:g} seconds beside what semi imports",
                do="import what is heavy inside the functions that use it",
            )

    def test_id_in_another_process(self) -> None:
        """The id is the same in every process: integrations are loaded by it."""
        kind = type(self.owned())
        module = self._own_module(kind.__module__)
        if "<locals>" in kind.__qualname__ or not hasattr(sys.modules[module], kind.__qualname__.partition(".")[0]):
            raise self.skipped(f"{kind.__qualname__} cannot be imported by name")
        if self.encoder is not None and not isinstance(self.encoder, str):
            raise self.skipped("the encoder is not loaded by name")
        arguments = (module, kind.__qualname__, self.encoder or "")
        ids = {self.loaded().id}
        ids |= {self.in_new_process(_ID, *arguments, PYTHONHASHSEED=seed).splitlines()[-1] for seed in ("1", "2")}
        if len(ids) > 1:
            self.fail(
                "the encoder's id differs from process to process",
                got=" and ".join(sorted(ids)),
                expected="one id",
                do="build it from constants: no hash(), no time, no path",
            )

    def _imported(self) -> dict[str, Any]:
        run = lambda: json.loads(self.in_new_process(_IMPORTS, self._module()).splitlines()[-1])  # noqa: E731
        found: dict[str, Any] = self._keep("imported", run)
        return found

    def _module(self) -> str:
        if self.module is not None:
            return self.module
        if self.modality is not None:
            return self._own_module(type(self.modality).__module__)
        return self._own_module(type(self.loaded()).__module__).partition(".")[0]

    def _own_module(self, name: str) -> str:
        """A module's name, if another process can import it; a test's own classes can not be."""
        try:
            found = name != "__main__" and importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            found = False
        if not found:
            raise self.skipped(f"the module {name} cannot be imported by name")
        return name


@contextlib.contextmanager
def _offline(tried: list[str]) -> Iterator[None]:
    """A process in which every connection and look-up fails, and is noted."""

    def refuse(what: str, where: Callable[..., object]) -> Callable[..., Any]:
        def refused(*arguments: Any, **_: Any) -> Any:
            tried.append(f"{what} {where(*arguments)}")
            raise OSError("no network here")

        return refused

    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family == getattr(socket, "AF_UNIX", None):
            return connect(self, address)
        return refuse("a connection to", lambda: address)()

    with (
        mock.patch.object(socket.socket, "connect", guarded),
        mock.patch.object(socket.socket, "connect_ex", refuse("a connection to", lambda _, address: address)),
        mock.patch.object(socket, "create_connection", refuse("a connection to", lambda address, *_: address)),
        mock.patch.object(socket, "getaddrinfo", refuse("a look-up of", lambda host, *_: host)),
        mock.patch.object(socket, "gethostbyname", refuse("a look-up of", lambda host, *_: host)),
    ):
        yield


def _state() -> dict[str, Any]:
    """What every part of a process shares, by name."""
    import numpy as np

    root = logging.getLogger()
    state: dict[str, Any] = {
        "os.environ": dict(os.environ),
        "the working directory": os.getcwd(),
        "sys.path": list(sys.path),
        "sys.stdout": sys.stdout,
        "sys.excepthook": sys.excepthook,
        "warnings.filters": list(warnings.filters),
        "logging": (root.level, list(root.handlers), logging.root.manager.disable),
        "numpy.errstate": np.geterr(),
        "the socket timeout": socket.getdefaulttimeout(),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the handler of SIGINT": signal.getsignal(signal.SIGINT),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        state |= {
            "torch's default type": torch.get_default_dtype(),
            "torch's default device": str(torch.get_default_device()),
            "torch's number of threads": torch.get_num_threads(),
            "torch's gradients": torch.is_grad_enabled(),
            "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
            "torch's precision of products": torch.get_float32_matmul_precision(),
        }
    return state


def _random_states() -> dict[str, Any]:
    """States of the shared random generators. Building a network draws from torch's; encoding must not."""
    import numpy as np

    states: dict[str, Any] = {"random's state": random.getstate(), "numpy.random's state": np.random.get_state()}
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch's random state"] = torch.get_rng_state().numpy()
    return states


def _equal(one: Any, other: Any) -> bool:
    import numpy as np

    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)

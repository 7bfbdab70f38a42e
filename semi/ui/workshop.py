"""What the page works on: one foundation in memory, one piece of work at a time, integrations in one folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from semi.adapters import ProjectorAdapter
from semi.errors import InputError, SemiError
from semi.foundation import Foundation
from semi.integration import Integration, Parts, read_parts
from semi.plugins import load_modality
from semi.ui.dropped import PREFIX
from semi.ui.job import Job, Order, Outcome

CLOSE_S = 10.0
"""How long `close` waits for the step that is at work."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Workshop:
    """Shared by all visitors, who are one person at one machine.

    Args:
        foundation: a name that a plugin registered, or a folder; loaded when it is first needed.
        folder: where integrations are saved and found.
    """

    def __init__(self, foundation: str | Path, folder: Path) -> None:
        self.folder = folder
        self.job: Job | None = None
        """The newest adaptation."""
        self._name = foundation
        self._loaded: Foundation | None = None
        self._loading = Lock()
        self._lock = Lock()
        """Guards what follows."""
        self._busy: str | None = None
        self._temporary = tempfile.TemporaryDirectory(prefix=PREFIX)
        self._drops = 0

    def close(self) -> bool:
        """Stop what is at work, and delete what was dropped; whether nothing is at work any more."""
        if self.job is not None:
            self.job.cancel()
            self.job.wait(CLOSE_S)
        self._temporary.cleanup()
        with self._lock:
            return self._busy is None

    @property
    def uploads(self) -> Path:
        """Where the server keeps what comes in, gone when the workshop closes."""
        return Path(self._temporary.name, "uploads")

    def drop(self) -> Path:
        """A folder for files that were dropped: not there yet, and gone when the workshop closes."""
        with self._lock:
            self._drops += 1
            return Path(self._temporary.name, f"{self._drops}")

    def foundation(self) -> Foundation:
        """The foundation, loaded once.

        Raises:
            SemiError: as `Foundation.load`.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = Foundation.load(self._name)
            return self._loaded

    def start(self, order: Order) -> Job:
        """Begin to learn.

        Raises:
            InputError: something else is at work.
        """
        self._begin(f"learning {order.modality.name}")
        self.job = Job(order, self.foundation, self._end)
        return self.job

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Inside, nothing else makes the language model or an encoder work.

        Raises:
            InputError: something else is at work.
        """
        self._begin(what)
        try:
            yield
        finally:
            self._end()

    def outcome(self) -> Outcome:
        """What the newest adaptation gave.

        Raises:
            InputError: it is not done.
        """
        if self.job is None or self.job.outcome is None:
            raise InputError("nothing was learned yet", do="add a sensor first")
        return self.job.outcome

    def saved(self) -> list[str]:
        """Names of the integrations in the folder."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{Integration.FILES[0]}"))

    def streamed(self) -> list[str]:
        """Names of those whose modality has windows of a stream."""
        found = []
        for name in self.saved():
            with suppress(SemiError):  # damaged, or its plugin is not here
                kind = load_modality(Integration.modality_of(self.folder / name))
                if kind.has_windows():
                    found.append(name)
        return found

    def parts(self, name: str | None) -> Parts:
        """A saved integration without its language model.

        Raises:
            InputError: there is none of that name.
            ArtifactError: it is damaged.
        """
        return read_parts(self._place(name))

    def adapters(self, foundation: str) -> dict[str, ProjectorAdapter]:
        """Those of all saved integrations of a foundation, by name; of damaged ones none."""
        found = {}
        for name in self.saved():
            with suppress(SemiError):
                parts = self.parts(name)
                if parts.adapter is not None and parts.record.foundation == foundation:
                    found[name] = parts.adapter
        return found

    def integration(self, name: str | None) -> Integration:
        """A saved integration over the foundation's language model.

        Raises:
            InputError: there is none of that name.
            ArtifactError: it is damaged, or its language model is another one.
        """
        return Integration.load(self._place(name), language_model=self.foundation().language_model)

    def save(self, name: str, *, force: bool = False) -> Path:
        """Write what the newest adaptation gave to a folder of that name.

        Raises:
            InputError: nothing was learned, or the name is none.
            OutputError: the folder is taken or cannot be written to.
        """
        if not NAME.fullmatch(name):
            expected = "letters, digits, - and _, at most 64, a letter or digit first"
            raise InputError("that is no name for a folder", got=name or "nothing", expected=expected)
        self.outcome().after.save(self.folder / name, force=force)
        return self.folder / name

    def _place(self, name: str | None) -> Path:
        if name not in self.saved():
            do = "add a sensor and save it" if not self.saved() else "choose one of the list"
            raise InputError("there is no such integration", got=name or "nothing", do=do)
        return self.folder / str(name)

    def _begin(self, what: str) -> None:
        with self._lock:
            if self._busy is not None:
                do = "wait until it is done, or stop it"
                raise InputError("the language model is at work already", got=self._busy, do=do)
            self._busy = what

    def _end(self) -> None:
        with self._lock:
            self._busy = None

"""Live streams of one or several modalities over one language model."""

from __future__ import annotations

import atexit
import gc
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Lock, Thread, current_thread
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np
import torch

from semi.errors import InputError, SessionError
from semi.integration import Integration, Parts, read_parts
from semi.streams.composing import Request
from semi.streams.labels import Labeller
from semi.streams.loading import by_modality, load_integrations
from semi.streams.settings import StreamSettings
from semi.streams.stream import Answer, Reading, Stream, closed, no_language_model
from semi.streams.texts import Texts
from semi.streams.writers import ProcessWriter, ThreadWriter, Writer

TextWorker = Literal["thread", "process"]
CLOSE_S = 30.0
"""How long `close` waits for a window or a token that is being computed."""


class Session:
    """One thread reads the newest window of every stream, another has the language model write; build it with `load`.

    Windows of one modality are embedded in one batch, and texts that are due at once are written in one, whatever
    their modalities: every integration has a projector of its own in front of the one language model.

    Both are asleep where there is nothing to do. The session changes nothing that is global: no settings of torch, no
    logging, no signals, no environment.

    Args:
        parts: integrations, with or without their language model, by modality.
        writer: None: nearest labels only.
        max_new_tokens: of a text.
    """

    def __init__(
        self, parts: Mapping[str, Parts | Integration], writer: Writer | None, *, max_new_tokens: int = 48
    ) -> None:
        self._labellers = {
            name: Labeller(part.modality, part.encoder, part.memory, part.record.instruction)
            for name, part in parts.items()
        }
        self._writer, self._max_new_tokens = writer, max_new_tokens
        instructions = {name: part.record.instruction for name, part in parts.items()}
        self._texts = None if writer is None else Texts(writer, instructions, max_new_tokens)
        self._lock = Lock()
        self._streams: dict[str, Stream] = {}
        self._sealed = Event()
        self._closed = False
        self._reader = Thread(target=self._read_all, name="semi streams", daemon=True)
        self._reader.start()
        atexit.register(self.close)  # a thread that is in PyTorch when Python ends makes it abort

    @classmethod
    def load(
        cls,
        *folders: str | Path,
        device: torch.device | str | None = None,
        text_worker: TextWorker | None = "thread",
        max_new_tokens: int = 48,
    ) -> Self:
        """A session of the integrations in some folders, one a modality.

        Args:
            device: of the language model; None: a GPU if there is one.
            text_worker: "thread": the language model writes in this process, where every token holds up other Python
                threads for a moment. "process": it is loaded and writes in one of its own. None: nearest labels only;
                no language model is loaded.

        Raises:
            InputError: no folder, two of one modality, or another text_worker.
            ArtifactError: a folder is incomplete or damaged, or its language model or encoder is another one now.
            PluginError: a modality's plugin is missing.
        """
        if text_worker not in (None, *get_args(TextWorker)):
            raise InputError("unknown text_worker", got=text_worker, expected="thread, process or None")
        if text_worker == "thread":
            integrations = load_integrations(folders, device)
            return cls(integrations, ThreadWriter(integrations), max_new_tokens=max_new_tokens)
        parts = by_modality([read_parts(folder) for folder in folders])
        target = None if device is None else str(device)
        writer = ProcessWriter([Path(folder) for folder in folders], target) if text_worker else None
        return cls(parts, writer, max_new_tokens=max_new_tokens)

    def stream(
        self,
        modality: str,
        *,
        rate_hz: float,
        window_s: float,
        hop_s: float,
        name: str | None = None,
        texts: bool = False,
        **settings: Any,
    ) -> Stream:
        """A new stream of a sensor.

        Args:
            modality: one of the session's.
            name: in `status`; None: the modality's, with a number where it is taken. `Stream.close` makes it free.
            texts: whether text is written without being asked, of the newest window whenever the one before is done.
            settings: others of `StreamSettings`, which also explains rate_hz, window_s and hop_s.

        Raises:
            InputError: the session has no such modality, the modality has no windows, the name is taken, a setting is
                out of range, or `texts` without a language model.
            SessionError: the session is closed.
        """
        chosen = StreamSettings(rate_hz=rate_hz, window_s=window_s, hop_s=hop_s, **settings)
        if texts and self._texts is None:
            raise no_language_model()
        with self._lock:
            labeller = self._labeller(modality)
            if not labeller.modality.has_windows():
                labeller.modality.window(np.empty((0, 0)), rate_hz)  # says that there are none
            shortest, longest = labeller.modality.window_s
            if not shortest <= window_s <= longest:
                raise InputError(
                    f"{modality} has no windows of that length",
                    got=f"window_s={window_s:g}",
                    expected=f"{shortest:g} to {longest:g} s",
                )
            if name is None:
                name, number = modality, 1
                while name in self._streams:
                    number += 1
                    name = f"{modality}-{number}"
            if name in self._streams:
                raise InputError("the session has a stream of that name", got=name, do="choose another")
            ask = None if self._texts is None else self._texts.ask
            made = Stream(name, labeller.modality, chosen, self._sealed.set, ask, self._forget, texts=texts)
            self._streams[name] = made
        return made

    def read(self, modality: str, sample: Any, stamp_ns: int = 0) -> Reading:
        """The reading of a sample that is no window of a stream, such as a picture; computed in this thread.

        Args:
            modality: one of the session's.
            sample: as `Modality.parse` takes it.
            stamp_ns: when it was measured.

        Raises:
            InputError: the session has no such modality.
            PairsError: it is not a sample of the modality.
            SessionError: the session is closed.
        """
        return self._labeller(modality).read_sample(sample, stamp_ns)

    def ask(self, question: str, about: Sequence[Stream | Reading] | None = None) -> Future[Answer]:
        """Ask the language model one question about the newest windows of several streams, and other samples.

        Returns at once, as `Stream.ask`. The answer is about the windows that are the newest when its turn comes, once
        every stream has one. It is in the future alone, and not in `Stream.latest_text`.

        Args:
            question: with one placeholder `<|modality|>` for each of `about`, in their order, or with none: all stand
                in front then.
            about: streams, and readings, e.g. of `read`. None: all streams, in the order in which they were opened.

        Raises:
            InputError: about nothing, a stream of another session, another number of placeholders, or the session was
                loaded without a language model.
            SessionError: too many questions about a stream wait (retriable), or one, or the session, is closed.
        """
        with self._lock:
            if self._closed:
                raise closed("session")
            known = list(self._streams.values())
        if self._texts is None:
            raise no_language_model()
        chosen = known if about is None else list(about)
        if not chosen:
            raise InputError("a question about nothing", got="no streams", do="open one: session.stream(...)")
        strange = [each.name for each in chosen if isinstance(each, Stream) and each not in known and not each.closed]
        if strange:
            raise InputError("streams of another session", got=", ".join(strange), expected="streams of this one")
        return self._texts.ask(chosen, question)

    def warmup(self) -> None:
        """Do once what takes longer the first time: an example of each modality is read, and a word written of it.

        Raises:
            SessionError: the text worker failed (retriable), or the session is closed.
        """
        if self._closed:
            raise closed("session")
        for name, labeller in list(self._labellers.items()):
            embedding = labeller.warmup()
            if self._writer is not None:
                self._writer.write([Request(((name, embedding),), labeller.instruction)], 1)

    def status(self) -> dict[str, dict[str, Any]]:
        """`Stream.status` of each stream by its name."""
        with self._lock:
            streams = dict(self._streams)
        return {name: stream.status() for name, stream in streams.items()}

    def close(self) -> None:
        """End threads and processes, free the models; waiting readers and questions are told. May be called twice.

        Raises:
            SessionError: an encoder or the language model did not come back within 30 s; its thread is left.
        """
        atexit.unregister(self.close)
        with self._lock:
            first, self._closed = not self._closed, True
            streams = list(self._streams.values())
        self._sealed.set()
        for stream in streams:
            stream.close()
        if self._texts is not None:
            self._texts.close(CLOSE_S)
        if current_thread() is not self._reader:
            self._reader.join(CLOSE_S)
        threads = [self._reader] + ([] if self._texts is None else [self._texts.thread])
        if left := [thread.name for thread in threads if thread.is_alive() and thread is not current_thread()]:
            raise SessionError(
                "the session is closed, but what it computes does not end", got=", ".join(left), retriable=False
            )
        self._labellers.clear()
        if first and self._writer is not None:
            self._writer.close()
            gc.collect()  # modules of transformers refer to each other in circles
            torch.cuda.empty_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _labeller(self, modality: str) -> Labeller:
        if self._closed:
            raise closed("session")
        if modality not in self._labellers:
            known = ", ".join(self._labellers)
            raise InputError("the session has no such modality", got=modality, expected=known)
        return self._labellers[modality]

    def _forget(self, stream: Stream) -> None:
        """A stream is closed."""
        with self._lock:
            if self._streams.get(stream.name) is stream:
                del self._streams[stream.name]
        if self._texts is not None:
            self._texts.forget(stream)

    def _read_all(self) -> None:
        while not self._closed:
            self._sealed.wait()
            self._sealed.clear()
            self._read_once()

    def _read_once(self) -> None:
        """A method, so that nothing of a closed stream is held while there is nothing to do."""
        with self._lock:
            streams = list(self._streams.values())
        for name, labeller in self._labellers.items():
            self._read([stream for stream in streams if stream.modality.name == name], labeller)

    def _read(self, streams: list[Stream], labeller: Labeller) -> None:
        """One batch of the newest windows of an encoder's streams."""
        taken = [(stream, window) for stream in streams if (window := stream.take()) is not None]
        if not taken:
            return
        outcomes = labeller.read([(window, stream.settings.rate_hz) for stream, window in taken])
        for (stream, window), outcome in zip(taken, outcomes, strict=True):
            # texts first: who asks as soon as it has its reading means that window
            if self._texts is not None and isinstance(outcome, Reading):
                self._texts.publish(stream, outcome)
            stream.publish(outcome if isinstance(outcome, Reading) else stream.unreadable(window, outcome))

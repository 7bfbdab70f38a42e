"""Questions about streams and their answers: the newest windows first, what is due at once in one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread, current_thread

from semi.errors import SessionError
from semi.prompts import with_placeholders
from semi.streams.composing import Request
from semi.streams.stream import Answer, Reading, Stream, closed
from semi.streams.writers import Writer

MOST = 16
"""Questions of a stream that can wait: more would be answered about windows nobody asked for."""
AT_ONCE = 8
"""Texts in a batch: the language model reads its weights once for all of them, but the longest holds up the others."""


@dataclass(frozen=True, eq=False)
class _Question:
    about: tuple[Stream | Reading, ...]
    text: str | None
    future: Future[Answer]

    @property
    def streams(self) -> list[Stream]:
        """Those whose newest windows it is about."""
        return [each for each in self.about if isinstance(each, Stream)]


@dataclass(frozen=True, eq=False)
class _Due:
    """A question whose turn has come, and what it is about by then."""

    question: _Question
    readings: tuple[Reading, ...]


class Texts:
    """One thread that has a writer write.

    Args:
        instructions: of each modality, for questions that say nothing else.
    """

    def __init__(self, writer: Writer, instructions: Mapping[str, str], max_new_tokens: int) -> None:
        self._writer, self._instructions, self._max_new_tokens = writer, instructions, max_new_tokens
        self._work = Condition()
        """Guards what follows."""
        self._questions: list[_Question] = []
        self._working: list[_Due] = []
        """What is being written."""
        self._read: dict[Stream, Reading] = {}
        """The newest readings."""
        self._unasked: set[Stream] = set()
        """Streams of which every window is to get text, and the newest has none yet."""
        self._closed = False
        self.thread = Thread(target=self._answer_all, name="semi texts", daemon=True)
        self.thread.start()

    def ask(self, about: Sequence[Stream | Reading], question: str | None) -> Future[Answer]:
        """A question about the newest windows of some streams, or their first, and about what was read already."""
        if question is not None:
            with_placeholders(question, len(about))
        asked = _Question(tuple(about), question, Future())
        with self._work:
            if self._closed:
                raise closed("session")
            for stream in asked.streams:
                if stream.closed:
                    raise closed("stream")
                if sum(stream in each.streams for each in self._questions) >= MOST:
                    raise SessionError(
                        f"{MOST} questions about {stream.name} wait already",
                        do="wait for their answers",
                        retriable=True,
                    )
            self._questions.append(asked)
            self._work.notify()
        return asked.future

    def publish(self, stream: Stream, reading: Reading) -> None:
        """A window has been read."""
        with self._work:
            if stream.closed:  # and forgotten, perhaps
                return
            self._read[stream] = reading
            if stream.texts:
                self._unasked.add(stream)
            self._work.notify()

    def forget(self, stream: Stream) -> None:
        """Of a stream that is closed nothing is kept; its questions fail, and a text for nobody else ends."""
        with self._work:
            self._read.pop(stream, None)
            self._unasked.discard(stream)
            waiting = [each for each in self._questions if stream in each.streams]
            running = [each for each in self._working if stream in each.question.streams]
            self._questions = [each for each in self._questions if each not in waiting]
            self._working = [each for each in self._working if each not in running]
        for question in waiting:
            if question.future.set_running_or_notify_cancel():
                question.future.set_exception(closed("stream"))
        for due in running:
            due.question.future.set_exception(closed("stream"))

    def close(self, timeout_s: float) -> None:
        """End the text that is being written; all streams are closed already, and forgotten."""
        with self._work:
            self._closed = True
            self._work.notify()
        self._writer.stop()
        if current_thread() is not self.thread:  # as a callback of a future
            self.thread.join(timeout_s)

    def _answer_all(self) -> None:
        while self._answer_next():
            pass

    def _answer_next(self) -> bool:
        """A method, so that nothing of a closed stream is held while there is nothing to do. False: closed."""
        due = self._next()
        if due is None:
            return False
        outcomes = self._answered(due)
        with self._work:
            wanted, self._working = set(self._working), []
        for each, outcome in zip(due, outcomes, strict=True):
            if each not in wanted:
                continue
            if len(each.question.about) == 1:
                for stream in each.question.streams:
                    stream.publish_text(outcome)
            if isinstance(outcome, Answer):
                each.question.future.set_result(outcome)
            else:
                each.question.future.set_exception(outcome)
        return True

    def _next(self) -> list[_Due] | None:
        """Questions whose turn has come, those about the newest windows first. None: closed."""
        with self._work:
            while not self._closed:
                asked = [each for each in self._questions if all(stream in self._read for stream in each.streams)]
                unasked = [_Question((stream,), None, Future()) for stream in self._unasked]
                # stable: of several about one window, the oldest comes first
                chosen = sorted(asked + unasked, key=self._newest, reverse=True)[:AT_ONCE]
                self._questions = [each for each in self._questions if each not in chosen]
                self._unasked -= {each.streams[0] for each in unasked if each in chosen}
                self._working = [
                    _Due(each, tuple(self._reading(part) for part in each.about))
                    for each in chosen
                    if each.future.set_running_or_notify_cancel()
                ]
                if self._working:
                    return list(self._working)
                if not chosen:
                    self._work.wait()
        return None

    def _newest(self, question: _Question) -> float:
        return max(self._reading(part).sealed_at for part in question.about)

    def _reading(self, part: Stream | Reading) -> Reading:
        return self._read[part] if isinstance(part, Stream) else part

    def _answered(self, due: Sequence[_Due]) -> list[Answer | SessionError]:
        requests = [self._request(each) for each in due]
        try:
            texts = self._writer.write(requests, self._max_new_tokens, lambda: not self._working)
        except Exception as error:  # a language model raises anything, and the next question may be answered
            told = error if isinstance(error, SessionError) else unwritten(error)
            if len(due) == 1 or not told.retriable:
                return [told] * len(due)
            return [outcome for each in due for outcome in self._answered([each])]
        return [Answer(text, each.question.text, each.readings) for text, each in zip(texts, due, strict=True)]

    def _request(self, due: _Due) -> Request:
        instruction = due.question.text or self._instructions[due.readings[0].modality]
        return Request(tuple((reading.modality, reading.embedding) for reading in due.readings), instruction)


def unwritten(error: Exception) -> SessionError:
    """What is told of a text that could not be written."""
    told = SessionError("text could not be written", got=f"{type(error).__name__}: {error}", retriable=True)
    told.__cause__ = error
    return told

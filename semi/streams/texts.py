"""Questions about streams, answered one by one: the newest window first."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread, current_thread

from semi.errors import SessionError
from semi.streams.stream import Answer, Reading, Stream, closed
from semi.streams.writers import Writer

MOST = 16
"""Questions of a stream that can wait: more would be answered about windows nobody asked for."""


@dataclass(frozen=True, eq=False)
class _Question:
    stream: Stream
    text: str | None
    future: Future[Answer]


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
        self._read: dict[Stream, Reading] = {}
        """The newest readings."""
        self._unasked: set[Stream] = set()
        """Streams of which every window is to get text, and the newest has none yet."""
        self._closed = False
        self.thread = Thread(target=self._answer_all, name="semi texts", daemon=True)
        self.thread.start()

    def ask(self, stream: Stream, question: str | None) -> Future[Answer]:
        """A question about the newest window of a stream, or its first."""
        future: Future[Answer] = Future()
        with self._work:
            if self._closed:
                raise closed()
            if sum(each.stream is stream for each in self._questions) >= MOST:
                raise SessionError(
                    f"{MOST} questions about {stream.name} wait already", do="wait for their answers", retriable=True
                )
            self._questions.append(_Question(stream, question, future))
            self._work.notify()
        return future

    def publish(self, stream: Stream, reading: Reading) -> None:
        """A window has been read."""
        with self._work:
            self._read[stream] = reading
            if stream.texts:
                self._unasked.add(stream)
            self._work.notify()

    def close(self, timeout_s: float) -> None:
        """End the text that is being written, and fail the questions that wait."""
        with self._work:
            self._closed = True
            waiting, self._questions = self._questions, []
            self._work.notify()
        self._writer.stop()
        for question in waiting:
            if question.future.set_running_or_notify_cancel():
                question.future.set_exception(closed())
        if current_thread() is not self.thread:  # as a callback of a future
            self.thread.join(timeout_s)

    def _answer_all(self) -> None:
        while (question := self._next()) is not None:
            if question.future.set_running_or_notify_cancel():
                outcome = self._answered(question)
                question.stream.publish_text(outcome)
                if isinstance(outcome, Answer):
                    question.future.set_result(outcome)
                else:
                    question.future.set_exception(outcome)

    def _next(self) -> _Question | None:
        """The question about the newest window; of several about one, the oldest. None: closed."""
        with self._work:
            while not self._closed:
                asked = [question for question in self._questions if question.stream in self._read]
                asked += [_Question(stream, None, Future()) for stream in self._unasked]
                if asked:
                    chosen = max(asked, key=lambda question: self._read[question.stream].sealed_at)
                    if chosen in self._questions:
                        self._questions.remove(chosen)
                    else:
                        self._unasked.discard(chosen.stream)
                    return chosen
                self._work.wait()
        return None

    def _answered(self, question: _Question) -> Answer | SessionError:
        with self._work:
            reading = self._read[question.stream]
        modality = question.stream.modality.name
        instruction = question.text or self._instructions[modality]
        try:
            text = self._writer.write(modality, reading.embedding, instruction, self._max_new_tokens)
        except SessionError as error:
            return error
        except Exception as error:  # a language model raises anything, and the next question may be answered
            told = SessionError("text could not be written", got=f"{type(error).__name__}: {error}", retriable=True)
            told.__cause__ = error
            return told
        if self._closed:  # the text was cut short
            return closed()
        return Answer(text, question.text, reading)

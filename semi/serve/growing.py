"""A text while it is written: what of it can be sent already, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence


class GrowingText:
    """Gives out a text bit by bit, as it will stand in the end: without white space around it and without a stop.

    What may still become a stop, or half of a character, is held back.

    Args:
        stops: texts that end it; they are no part of it. Of several the one that is complete first does, however the
            text comes.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._stops = list(stops)
        self._held = max((len(stop) - 1 for stop in stops), default=0)
        self.sent = ""
        self.stopped = False
        """Whether one of the stops has come."""

    def grow(self, text: str, *, last: bool = False) -> str:
        """What can be sent now.

        Args:
            text: all of it so far.
            last: nothing will come after it.
        """
        found = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            _, begins = min(found)
            self.stopped, text = True, text[:begins]
        elif not last:
            text = text[: max(0, len(text) - self._held)].rstrip("\ufffd")  # stands for bytes that are no character yet
        more = text.strip()[len(self.sent) :]
        self.sent += more
        return more

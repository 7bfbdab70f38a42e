"""Values in few words, for messages and tables."""

from __future__ import annotations

from pathlib import Path

CUT = "..."


def brief(value: object, most: int = 80) -> str:
    """A value on one line of at most `most` characters: text as it is, anything else as Python writes it.

    Of a path too long for that the end is kept, and the home folder is `~`.
    """
    if isinstance(value, str | Path):
        text = " ".join(str(value).split())
    elif hasattr(value, "astype"):  # numbers as the array's own type prints them: float32 0.1 is more digits to Python
        text = repr(value.astype(str).tolist()).replace("'", "")
    else:
        text = repr(value)
    home = f"{Path.home()}/"
    if text.startswith(home):
        text = f"~/{text.removeprefix(home)}"
    if len(text) <= most:
        return text
    room = most - len(CUT)
    return CUT + text[-room:] if text.startswith(("/", "~/")) else text[:room] + CUT

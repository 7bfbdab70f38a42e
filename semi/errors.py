"""Exceptions of semi: every one says what is wrong, what it got, what it expected and what to do."""

from __future__ import annotations


class SemiError(Exception):
    """The work could not be done. The command line ends with `exit_code` and prints no traceback.

    Args:
        what: one sentence that names the file, tensor, plugin or setting at fault.
        got: what was found.
        expected: what should have been there.
        do: the next step that mends it.
    """

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        do: str | None = None,
    ) -> None:
        self.what, self.got, self.expected, self.do = what, got, expected, do
        super().__init__(what)

    def __str__(self) -> str:
        rows = (("got", self.got), ("expected", self.expected), ("do this", self.do))
        return "\n".join([self.what, *(f"  {label}: {value}" for label, value in rows if value is not None)])


class InputError(SemiError):
    """Wrong usage or input, refused before any work started."""

    exit_code = 2


class PairsError(InputError):
    """A pairs file, a sample or a caption is wrong; names the file and the line."""


class ArtifactError(InputError):
    """A saved folder or tensor file is missing, incomplete, damaged or does not fit."""


class PluginError(InputError):
    """A plugin is unknown, clashes, or failed to load; names its distribution."""


class AssetError(SemiError):
    """An asset could not be fetched or failed its hash check; nothing of it is left behind."""


class OutputError(InputError):
    """An output folder is taken or cannot be written to."""


class SessionError(SemiError):
    """A stream or what works for it failed.

    Args:
        retriable: whether the same call may succeed later (a sample out of order, a worker that can be started again);
            otherwise the stream or session is of no more use.
    """

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        do: str | None = None,
        retriable: bool,
    ) -> None:
        super().__init__(what, got=got, expected=expected, do=do)
        self.retriable = retriable

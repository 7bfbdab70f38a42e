"""The curves of a training in TensorBoard, wandb or trackio, as it runs; nothing is tracked unless it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Protocol, Self

from semi.errors import InputError

Advance = Callable[[int, str], None]


class Note(str):
    """What a training tells after a step: words for people, and with them the numbers."""

    numbers: Mapping[str, float]

    def __new__(cls, text: str, numbers: Mapping[str, float]) -> Self:
        note = super().__new__(cls, text)
        note.numbers = numbers
        return note


class Tracker(Protocol):
    """Where curves go."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The values (loss, lr, validation) after so many steps."""
        ...

    def close(self) -> None:
        """Write what is still held back."""
        ...


@contextmanager
def tracked(where: str | None, name: str, config: Mapping[str, Any], advance: Advance) -> Iterator[Advance]:
    """`advance` for a training, which a tracker hears too: `with tracked("tensorboard:runs/tb", ...) as advance:`.

    Args:
        where: "tensorboard:FOLDER", "wandb:PROJECT" or "trackio:PROJECT"; None: nowhere.
        name: of the run.
        config: JSON-able, shown beside the curves where the tracker can.
        advance: told every note as before.

    Raises:
        InputError: the tracker is unknown, or its package is not installed.
    """
    if where is None:
        yield advance
        return
    tracker = open_tracker(where, name, config)

    def told(step: int, note: str) -> None:
        if isinstance(note, Note):
            tracker.log(step, note.numbers)
        advance(step, note)

    try:
        yield told
    finally:
        tracker.close()


def open_tracker(where: str, name: str, config: Mapping[str, Any]) -> Tracker:
    """The tracker; arguments and errors as of `tracked`."""
    kind, _, place = where.partition(":")
    if kind not in _KINDS or not place:
        raise InputError("unknown tracker", got=where, expected="tensorboard:FOLDER, wandb:PROJECT or trackio:PROJECT")
    module, make = _KINDS[kind]
    try:
        found = import_module(module)
    except ImportError as error:
        package = f"'semi-llm[{kind}]'"
        raise InputError(f"{kind} is not installed", do=f"pip install {package}") from error
    return make(found, place, name, config)


class _TensorBoard:
    """A folder a run, of files that `tensorboard --logdir` reads."""

    def __init__(self, module: Any, folder: str, name: str, config: Mapping[str, Any]) -> None:
        self._open, self._place = module.SummaryWriter, f"{folder}/{name}"
        self._writer: Any = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        if self._writer is None:  # purged: what a killed run told of later steps, which come again
            self._writer = self._open(self._place, purge_step=step)
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        """See `Tracker`."""
        if self._writer is not None:
            self._writer.close()


class _Run:
    """A run of wandb, whose interface trackio has too."""

    def __init__(self, module: Any, project: str, name: str, config: Mapping[str, Any]) -> None:
        self._module = module
        module.init(project=project, name=name, config=dict(config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._module.log(dict(values), step=step)

    def close(self) -> None:
        """See `Tracker`."""
        self._module.finish()


_KINDS: dict[str, tuple[str, Callable[[Any, str, str, Mapping[str, Any]], Tracker]]] = {
    "tensorboard": ("torch.utils.tensorboard", _TensorBoard),
    "wandb": ("wandb", _Run),
    "trackio": ("trackio", _Run),
}

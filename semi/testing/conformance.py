"""All checks together: as a class for pytest, and as a function for `semi plugins check`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import SkipTest

from semi.errors import AssetError, SemiError
from semi.modality import Encoder, Modality
from semi.plugins.check import Finding
from semi.testing.encoder_checks import EncoderChecks
from semi.testing.isolation_checks import IsolationChecks
from semi.testing.modality_checks import ModalityChecks


class ModalityConformance(ModalityChecks, EncoderChecks, IsolationChecks):
    """Every promise that semi relies on, a test method each. In a plugin's tests:

    >>> class TestSonar(ModalityConformance):
    ...     modality = Sonar()
    ...     samples = [first, second, third]

    `encoder` names one of the modality's encoders, `refused` lists samples that must be refused. An encoder without a
    modality is tried by `encoder = MyEncoder()` alone.
    """


def checks() -> dict[str, Callable[[ModalityConformance], None]]:
    """The checks by name, in the order they are written."""
    found: dict[str, Callable[[ModalityConformance], None]] = {}
    for part in ModalityConformance.__bases__:
        members = inspect.getmembers(part, inspect.isfunction)
        own = [(name, check) for name, check in members if name.startswith("test_") and name in vars(part)]
        found.update(sorted(own, key=lambda item: item[1].__code__.co_firstlineno))
    return found


def conformance(
    modality: Modality | None,
    samples: Sequence[Any],
    *,
    encoder: str | Encoder | None = None,
    refused: Sequence[Any] = (),
    first: bool = True,
) -> Iterator[Finding]:
    """Run every check, and say of each whether it passed, failed or was skipped, and why.

    Args:
        modality: None tries an encoder alone.
        samples: at least three, as they stand in a pairs file.
        encoder: one of the modality's encoders by name, or an encoder.
        refused: samples that have to be refused.
        first: also check the modality; False for its other encoders.
    """
    attributes = {"modality": modality, "samples": samples, "encoder": encoder, "refused": refused}
    subject = type("Conformance", (ModalityConformance,), attributes)()
    name = encoder if isinstance(encoder, str) else getattr(encoder, "id", "")
    try:
        subject.loaded()
    except SkipTest as skip:
        yield Finding("all", name, "skipped", str(skip))
        return
    except SemiError as error:
        # An encoder other than the default may need an extra or a hub that is not here, and says so.
        state = "failed" if first and not isinstance(error, AssetError) else "skipped"
        yield Finding("all", name, state, str(error))
        return
    except Exception as error:
        yield Finding("all", name, "failed", f"it cannot be loaded: {type(error).__name__}: {error}")
        return
    for title, check in checks().items():
        if first or not hasattr(ModalityChecks, title):
            yield Finding(title.removeprefix("test_"), name, *_result(check, subject))


def _result(check: Callable[[Any], None], subject: ModalityConformance) -> tuple[str, str | None]:
    try:
        check(subject)
    except SkipTest as skip:
        return "skipped", str(skip)
    except AssetError as error:
        return "skipped", str(error)
    except SemiError as error:
        return "failed", str(error)
    except Exception as error:
        return "failed", f"the encoder or modality raised {type(error).__name__}: {error}"
    return "passed", None

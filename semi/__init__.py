"""Teach a frozen 4-bit large language model a new kind of data from about 32 labelled samples."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from semi.errors import SemiError

if TYPE_CHECKING:
    from semi.foundation import Foundation
    from semi.integration import Integration
    from semi.language_model import LanguageModel
    from semi.pairs import Pair
    from semi.streams.session import Session

    __version__: str

__all__ = ["Foundation", "Integration", "LanguageModel", "Pair", "SemiError", "Session", "__version__"]

# torch takes seconds to import; `import semi` alone must not (PEP 562).
_HOMES = {
    "Foundation": "semi.foundation",
    "Integration": "semi.integration",
    "LanguageModel": "semi.language_model",
    "Pair": "semi.pairs",
    "Session": "semi.streams.session",
}


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        from importlib.metadata import version

        value = version("semi-llm")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'semi' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

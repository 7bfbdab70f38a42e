"""Configurations as YAML files, checked whole before any work starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from semi.errors import InputError

C = TypeVar("C", bound="Strict")
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A configuration that refuses unknown settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_config(path: Path, kind: type[C], changes: Sequence[str] = ()) -> C:
    """A configuration from a YAML file; relative paths in it are relative to the working directory.

    Args:
        changes: settings in place of the file's, "seed=1" or "sources.0.weight=2", values as YAML has them.

    Raises:
        InputError: the file is missing or not YAML, a change cannot be made, or settings are unknown, missing or out of
            range; names them all.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read", got=error.strerror) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML", got=" ".join(str(error).split())) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no settings", got=type(content).__name__, expected="a mapping")
    for change in changes:
        _set(content, change)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        known = ", ".join(kind.model_fields)
        raise InputError(f"{path}: " + "; ".join(problems), expected=f"settings among {known}") from error


def _set(content: Any, change: str) -> None:
    """Put the value of "name.name=value" into nested mappings and lists."""
    path, sign, value = change.partition("=")
    *way, last = path.split(".")
    try:
        if not sign:
            raise ValueError("no value")
        for name in way:
            content = content[int(name)] if isinstance(content, list) else content.setdefault(name, {})
        content[int(last) if isinstance(content, list) else last] = yaml.safe_load(value)
    except (LookupError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise InputError(
            "a setting cannot be changed", got=change, expected="NAME=VALUE, names joined by dots"
        ) from error

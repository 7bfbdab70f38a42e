"""Configurations as YAML files, checked whole before any work starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

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
            range; names them all, a line each, and what may stand there.
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
        lines = "\n".join(f"  {line}" for line in _told(error.errors(), kind, content))
        at_top = any(len(e["loc"]) == 1 and e["type"] in ("missing", "extra_forbidden") for e in error.errors())
        known = f"settings among {', '.join(_names(kind))}" if at_top else None
        raise InputError(f"{path} has settings that do not fit:\n{lines}", expected=known) from error


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


def _told(errors: Iterable[ErrorDetails], kind: type[BaseModel], content: Any) -> Iterator[str]:
    """Each setting that is wrong by its name in the file, and why."""
    demands: dict[str, list[str]] = {}  # what may be a number or a word is two errors of pydantic's
    got: dict[str, Any] = {}
    for error in errors:
        place, message = _place(error, content), error["msg"]
        if error["type"] == "value_error":
            lines = message.removeprefix("Value error, ").splitlines()
            yield from (f"{place}: {line}" if place else line for line in lines)
        elif error["type"] == "extra_forbidden":
            yield f"{place}: unknown{_instead(error, kind, place)}"
        elif error["type"] == "missing":
            yield f"{place}: missing"
        elif error["type"].startswith("union_tag"):
            name = error["ctx"]["discriminator"].strip("'")
            tags = [tag for one in _levels(kind, error["loc"]) for tag in get_args(one.model_fields[name].annotation)]
            tag = error["ctx"].get("tag")
            what = "missing" if tag is None else f"{tag!r} is unknown{_near(tag, tags)}"
            yield f"{place}.{name}: {what}; there are {', '.join(tags)}"
        else:
            message = message.partition(", unable")[0].partition(" for <class")[0]  # what follows is about Python
            _, should, what = message.partition("should ")
            mapping = error["type"] in ("model_type", "model_attributes_type")
            what = "be a mapping of settings" if mapping else what
            demands.setdefault(place, []).append(should + what if should else message.removeprefix("Input "))
            got[place] = error["input"]
    for place, all_of_it in demands.items():
        found = "" if isinstance(got[place], list | dict) else f", got {got[place]!r}"
        yield f"{place}: {' or '.join(all_of_it)}{found}"


def _place(error: ErrorDetails, content: Any) -> str:
    """Where it is in the file. Pydantic also names the kind that it took a value for, which stands nowhere in it."""
    names = []
    for at, part in enumerate(error["loc"]):
        inside = part in content if isinstance(content, dict) else isinstance(content, list) and isinstance(part, int)
        if inside:
            content = content[part]
        if inside or (error["type"] == "missing" and at + 1 == len(error["loc"])):
            names.append(str(part) or "''")
    return ".".join(names)


def _instead(error: ErrorDetails, kind: type[BaseModel], place: str) -> str:
    """What an unknown setting may have been meant to be, and below the top what there is at its level."""
    *way, name = error["loc"]
    level = _levels(kind, way)[0]
    known = _names(level)
    hint = _near(str(name), known)
    if not way:
        return hint
    tags = {field: way[-1] for field, of in level.model_fields.items() if way[-1] in get_args(of.annotation)}
    which = "".join(f" with {field} {tag}" for field, tag in tags.items())
    takes = ", ".join(other for other in known if other not in tags)
    return f"{hint}; `{place.rpartition('.')[0]}`{which} takes {takes}"


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f", did you mean {near[0]}?" if near else ""


def _levels(kind: type[BaseModel], way: Iterable[int | str]) -> list[type[BaseModel]]:
    """The configurations that may stand at a place: one, or several of which the file names none."""
    levels = [kind]
    for part in way:
        fields = {of.alias or name: of for level in levels for name, of in level.model_fields.items()}
        if part in fields:
            levels = list(_configurations(fields[str(part)].annotation))
        elif isinstance(part, str):  # the one of several that the file names
            levels = [
                level for level in levels if any(part in get_args(of.annotation) for of in level.model_fields.values())
            ]
    return levels


def _configurations(annotation: Any) -> Iterator[type[BaseModel]]:
    """Those in an annotation, such as of a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _configurations(part)


def _names(kind: type[BaseModel]) -> list[str]:
    """Settings as they are written in a file."""
    return [of.alias or name for name, of in kind.model_fields.items()]

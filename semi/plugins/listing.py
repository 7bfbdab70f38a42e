"""What is installed, read from package metadata alone: no plugin is imported, so none can break the list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import groupby
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

CORE = "semi-llm"
Kind = Literal["modality", "dataset", "foundation"]
State = Literal["available", "incompatible", "clash", "failed"]
GROUPS: dict[Kind, str] = {
    "modality": "semi.modalities",
    "dataset": "semi.datasets",
    "foundation": "semi.foundations",
}


@dataclass(frozen=True)
class PluginInfo:
    """One thing that a distribution offers under one name."""

    name: str
    kind: Kind
    distribution: str
    version: str
    state: State = "available"
    """incompatible: it wants another semi-llm; clash: two distributions, one name; failed: damaged metadata."""
    cause: str | None = None
    fix: str | None = None
    target: str = ""
    """The entry point's value; empty for what semi itself brings."""


def list_plugins() -> list[PluginInfo]:
    """Everything on offer, the built-in modality `vectors` included, sorted by kind and name; imports none of it."""
    offers = [PluginInfo("vectors", "modality", CORE, _core_version() or "unknown")]
    for distribution in _distributions():
        offers.extend(_offers(distribution))
    order = list(GROUPS)
    offers.sort(key=lambda offer: (order.index(offer.kind), offer.name, offer.distribution))
    plugins: list[PluginInfo] = []
    for _, group in groupby(offers, key=lambda offer: (offer.kind, offer.name)):
        same = list(group)
        plugins.extend(_clash(same) if len(same) > 1 else same)
    return plugins


def _distributions() -> Iterator[metadata.Distribution]:
    """The installed distributions that mention a group of ours; of two copies on sys.path, the one Python imports."""
    names = set()
    for distribution in metadata.distributions():
        # An uninstall that was cut short leaves a folder without METADATA; pip skips those too.
        described = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
        if described and "[semi." in (distribution.read_text("entry_points.txt") or ""):
            names.add(canonicalize_name(distribution.name))
    for name in sorted(names):
        yield metadata.distribution(name)


def _offers(distribution: metadata.Distribution) -> Iterator[PluginInfo]:
    name, version = distribution.name, distribution.version or "unknown"
    reinstall = f"pip install --force-reinstall --no-deps {name}"
    try:
        entries = distribution.entry_points
    except Exception as error:  # importlib.metadata raises whatever its parser stumbles over
        cause = f"its entry_points.txt cannot be read ({type(error).__name__}: {error})"
        yield PluginInfo(name, "modality", name, version, "failed", cause, reinstall)
        return
    for kind, group in GROUPS.items():
        for entry in entries.select(group=group):
            offer = PluginInfo(entry.name, kind, name, version, target=entry.value)
            if metadata.EntryPoint.pattern.match(entry.value) is None:
                cause = f"its entry point is not 'module' or 'module:object': {entry.value!r}"
                yield replace(offer, state="failed", cause=cause, fix=reinstall)
            else:
                yield _checked(offer, distribution.requires or [])


def _checked(offer: PluginInfo, requirements: list[str]) -> PluginInfo:
    """The offer, marked if its distribution asks for another version of semi-llm than the one that runs."""
    version = _core_version()
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            cause = f"its metadata holds a requirement that cannot be read: {text!r}"
            return replace(offer, state="failed", cause=cause, fix=f"pip install --upgrade {offer.distribution}")
        if canonicalize_name(wanted.name) != CORE or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        if version is not None and not wanted.specifier.contains(version, prereleases=True):
            return replace(
                offer,
                state="incompatible",
                cause=f"it wants {CORE}{wanted.specifier}, and {version} is installed",
                fix=f"pip install --upgrade {offer.distribution} {CORE}",
            )
    return offer


def _clash(offers: list[PluginInfo]) -> list[PluginInfo]:
    """The offers of one name, none of them usable: which one is meant is for the user to say."""
    owners = " and ".join(f"{offer.distribution} {offer.version}" for offer in offers)
    cause = f"{owners} offer the same {offers[0].kind}"
    others = [offer.distribution for offer in offers if offer.distribution != CORE]
    fix = f"uninstall all but one: pip uninstall {others[-1]}"
    return [replace(offer, state="clash", cause=cause, fix=fix) for offer in offers]


def _core_version() -> str | None:
    """None where semi runs from a source folder that was never installed."""
    try:
        return metadata.version(CORE)
    except metadata.PackageNotFoundError:
        return None

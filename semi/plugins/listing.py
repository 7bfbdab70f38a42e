"""What is installed, read from package metadata alone: no plugin is imported, so none can break the list."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import groupby
from typing import Literal

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

CORE = "semi-llm"
Kind = Literal["modality", "dataset", "foundation", "metric", "command"]
State = Literal["available", "blocked", "incompatible", "clash", "loaded", "failed"]
GROUPS: dict[Kind, str] = {
    "modality": "semi.modalities",
    "dataset": "semi.datasets",
    "foundation": "semi.foundations",
    "metric": "semi.metrics",
    "command": "semi.commands",
}
ALLOW_LIST = "SEMI_LOAD_PLUGINS"
"""Names of distributions, separated by commas: where it is set, no other plugin is ever imported."""
TAKEN: dict[Kind, frozenset[str]] = {
    "modality": frozenset({"vectors"}),
    "metric": frozenset(
        [
            "n",
            "loss",
            "loss_shuffled",
            "rouge_l",
            "bleu_4",
            "meteor",
            "cider_d",
            "cosine",
            "attribute_accuracy",
            "skipped",
        ]
    ),
    "command": frozenset(
        [
            "adapt",
            "bench",
            "chat",
            "convert",
            "demo",
            "describe",
            "doctor",
            "encode",
            "eval",
            "export",
            "fetch",
            "merge",
            "new-plugin",
            "plugins",
            "push",
            "serve",
            "stream",
            "study",
            "train",
            "ui",
        ]
    ),
}
"""Names of semi itself; a plugin that offers one of them clashes with it."""


@dataclass(frozen=True)
class PluginInfo:
    """One thing that a distribution offers under one name."""

    name: str
    kind: Kind
    distribution: str
    version: str
    state: State = "available"
    """blocked: not in SEMI_LOAD_PLUGINS; incompatible: it wants another semi-llm; clash: two distributions, one name;
    loaded and failed: what came of its use in this process; failed, too: damaged metadata."""
    cause: str | None = None
    """One line: why it cannot be used."""
    fix: str | None = None
    """What to type."""
    target: str = ""
    """The entry point's value; empty for what semi itself brings."""
    place: str = ""
    """The folder that its distribution is installed in."""


def list_offers() -> list[PluginInfo]:
    """Everything on offer by metadata alone, whatever came of it in this process; sorted by kind and name."""
    offers = [PluginInfo("vectors", "modality", CORE, _core_version() or "unknown")]
    for distribution in _distributions():
        offers.extend(_offers(distribution))
    order = list(GROUPS)
    offers.sort(key=lambda offer: (order.index(offer.kind), offer.name, offer.distribution))
    plugins: list[PluginInfo] = []
    for _, group in groupby(offers, key=lambda offer: (offer.kind, offer.name)):
        plugins.extend(_clash(list(group)))
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
            place = str(distribution.locate_file(""))
            offer = PluginInfo(entry.name, kind, name, version, target=entry.value, place=place)
            if blocked := _blocked(offer):
                yield blocked
            elif metadata.EntryPoint.pattern.match(entry.value) is None:
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


def _blocked(offer: PluginInfo) -> PluginInfo | None:
    """The offer as blocked, if there is an allow-list that does not name its distribution."""
    listed = os.environ.get(ALLOW_LIST)
    if listed is None:
        return None
    allowed = [name.strip() for name in listed.split(",") if name.strip()]
    if canonicalize_name(offer.distribution) in map(canonicalize_name, allowed):
        return None
    return replace(
        offer,
        state="blocked",
        cause=f"{ALLOW_LIST} does not name {offer.distribution}",
        fix=f"{ALLOW_LIST}={','.join([*allowed, offer.distribution])}, or unset it",
    )


def _clash(offers: list[PluginInfo]) -> list[PluginInfo]:
    """The offers of one name; where several could be used, none can: which one is meant is for the user to say."""
    kind, name = offers[0].kind, offers[0].name
    rivals = [offer for offer in offers if offer.state != "blocked"]
    owners = [f"{offer.distribution} {offer.version}" for offer in rivals]
    if name in TAKEN.get(kind, ()) and all(offer.distribution != CORE for offer in rivals):
        owners.insert(0, f"{CORE} {_core_version() or ''}".strip())
    if len(owners) < 2 or not rivals:
        return offers
    cause = f"{' and '.join(owners)} offer the same {kind}"
    others = [offer.distribution for offer in rivals if offer.distribution != CORE]
    fix = f"uninstall all but one: pip uninstall {others[-1]}"
    if len(owners) == len(others):
        fix += f" (or, to keep them, allow one by {ALLOW_LIST})"
    return [replace(offer, state="clash", cause=cause, fix=fix) if offer in rivals else offer for offer in offers]


def _core_version() -> str | None:
    """None where semi runs from a source folder that was never installed."""
    try:
        return metadata.version(CORE)
    except metadata.PackageNotFoundError:
        return None

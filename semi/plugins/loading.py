"""Load the one plugin a name asks for; a broken one is an error that names it, and leaves nothing behind."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import metadata
from typing import Any

import pluggy

from semi.errors import PluginError, SemiError
from semi.modality import Dataset, Modality
from semi.plugins import hookspecs
from semi.plugins.hookspecs import API_VERSION, FoundationSource
from semi.plugins.listing import CORE, GROUPS, Kind, PluginInfo, list_offers
from semi.plugins.metric import Metric
from semi.plugins.state import record

_EXPECTED: dict[Kind, type[Any]] = {
    "modality": Modality,
    "dataset": Dataset,
    "foundation": FoundationSource,
    "metric": Metric,
}


def load(kind: Kind, name: str) -> Any:
    """The thing of that kind that users call `name`; what came of it is in `list_plugins` from then on.

    Raises:
        PluginError: unknown, blocked, offered twice, made for another semi-llm, or broken.
    """
    offer = _find(name, kind)
    if offer.target == "":
        from semi.vectors import Vectors

        return Vectors()
    try:
        thing = _load(offer)
    except SemiError as error:
        record(offer, error)
        raise
    record(offer)
    return thing


def load_modality(name: str) -> Modality:
    """The modality that users call `name`; raises PluginError as `load` does."""
    modality: Modality = load("modality", name)
    return modality


def load_dataset(name: str) -> Dataset:
    """The data set that users call `name`; raises PluginError as `load` does."""
    dataset: Dataset = load("dataset", name)
    return dataset


def load_foundation(name: str) -> FoundationSource:
    """Where the foundation that users call `name` lies; raises PluginError as `load` does."""
    source: FoundationSource = load("foundation", name)
    return source


def load_metric(name: str) -> Metric:
    """The metric that users call `name`; raises PluginError as `load` does."""
    metric: Metric = load("metric", name)
    return metric


def load_command(name: str) -> Any:
    """The typer app or click command behind the verb `semi name`; raises PluginError as `load` does."""
    return load("command", name)


def _find(name: str, kind: Kind) -> PluginInfo:
    """The one usable offer of that name, among those not blocked if there are others."""
    plugins = [plugin for plugin in list_offers() if plugin.kind == kind]
    known = [plugin.name for plugin in plugins]
    found = sorted((plugin for plugin in plugins if plugin.name == name), key=lambda plugin: plugin.state == "blocked")
    if not found:
        near = get_close_matches(name, known, n=1)
        raise PluginError(
            f"unknown {kind} {name!r}",
            expected=f"one of {', '.join(dict.fromkeys(known))}" if known else f"an installed plugin with a {kind}",
            do=f"did you mean {near[0]!r}?" if near else "install the plugin that brings it; `semi plugins` lists them",
        )
    first = found[0]
    if first.state != "available":
        raise PluginError(f"{kind} {name!r} of {first.distribution} cannot be used: {first.cause}", do=first.fix)
    return first


def _load(info: PluginInfo) -> Any:
    """What the plugin's hook answers to its name."""
    name, hook = info.name, f"semi_{info.kind}"
    title = f"{info.kind} {name!r} of {info.distribution} {info.version}"
    with _nothing_left_behind(info):
        plugin = _imported(info, title)
        _require_version(plugin, info, title)
        call = _validated(plugin, hook, info, title)
        try:
            thing = call(name=name)
        except SemiError:
            raise
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{title}: its hook {hook}(name) failed",
                got=f"{type(error).__name__}: {error}",
                do=_upgrade(info),
            ) from error
        _require_thing(thing, info, title)
    return thing


def _require_thing(thing: object, info: PluginInfo, title: str) -> None:
    """Refuse what is not of the kind and name that the plugin announced."""
    if info.kind == "command":
        fits, expected, got = _is_command(thing), "a typer.Typer or a click.Command", repr(thing)
    else:
        kind = _EXPECTED[info.kind]
        called = getattr(thing, "name", None)
        fits, expected = isinstance(thing, kind) and called == info.name, f"a {kind.__name__} named {info.name!r}"
        got = f"one named {called!r}" if isinstance(thing, kind) else repr(thing)
    if not fits:
        raise PluginError(
            f"{title}: its hook semi_{info.kind}(name) gave something else",
            got=got,
            expected=expected,
            do=_upgrade(info),
        )


def _is_command(thing: object) -> bool:
    """By their methods: typer has a copy of click, whose commands are no instances of click's."""
    click = all(callable(getattr(thing, method, None)) for method in ("make_context", "invoke", "get_help"))
    return click or hasattr(thing, "registered_commands")


def _require_version(plugin: object, info: PluginInfo, title: str) -> None:
    """Refuse a plugin that says it was written for other hooks than these."""
    version = getattr(plugin, "api_version", API_VERSION)
    if type(version) is int and version == API_VERSION:
        return
    newer = type(version) is int and version > API_VERSION
    raise PluginError(
        f"{title} was written for another version of semi's hooks",
        got=f"api_version = {version!r}",
        expected=f"api_version = {API_VERSION}, or none",
        do=f"pip install --upgrade {CORE}" if newer else _upgrade(info),
    )


def _imported(info: PluginInfo, title: str) -> object:
    """The entry point's target. A plugin may call sys.exit at import: that must not end the program either."""
    try:
        return metadata.EntryPoint(info.name, info.target, GROUPS[info.kind]).load()
    except (Exception, SystemExit) as error:
        fix = _upgrade(info)
        if isinstance(error, ModuleNotFoundError) and error.name:
            fix = f"pip install {info.distribution} (or, if it forgot to ask for it, pip install {error.name})"
        raise PluginError(
            f"{title} cannot be imported ({info.target})", got=f"{type(error).__name__}: {error}", do=fix
        ) from error


def _validated(plugin: object, hook: str, info: PluginInfo, title: str) -> Callable[..., object]:
    """The caller of the plugin's hook, after every hookimpl in it was compared with the hookspecs.

    The manager holds this plugin only and is forgotten with it, so no plugin answers for another.
    """
    manager = pluggy.PluginManager("semi")
    manager.add_hookspecs(hookspecs)
    specs = {f"semi_{kind}": inspect.signature(getattr(hookspecs, f"semi_{kind}")) for kind in GROUPS}
    implemented = {name: inspect.signature(function) for name, function in _hookimpls(manager, plugin)}
    for name, signature in implemented.items():
        if name not in specs:
            near = get_close_matches(name, specs, n=1)
            raise PluginError(
                f"{title} implements a hook that does not exist: {name}{signature}",
                expected=f"one of {'; '.join(f'{known}{spec}' for known, spec in specs.items())}",
                do=f"rename it to {near[0]}" if near else _upgrade(info),
            )
        own, offered = _parameters(signature), _parameters(specs[name])
        if offered[0] not in own or any(parameter not in offered for parameter in own):
            raise PluginError(
                f"{title} implements the hook {name} with the wrong parameters",
                got=f"{name}{signature}",
                expected=f"{name}{specs[name]}",
                do=_upgrade(info),
            )
    if hook not in implemented:
        raise PluginError(
            f"{title}: {info.target} has no hook {hook}",
            got=f"hooks {', '.join(implemented)}" if implemented else "no function marked @semi.plugins.hookimpl",
            expected=f"{hook}{specs[hook]} marked @semi.plugins.hookimpl",
            do=_upgrade(info),
        )
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{title} is refused by pluggy", got=error, do=_upgrade(info)) from error
    caller: Callable[..., object] = getattr(manager.hook, hook)
    return caller


def _parameters(signature: inspect.Signature) -> list[inspect.Parameter]:
    """Names, kinds and defaults; annotations are the plugin's own affair."""
    return [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]


def _hookimpls(manager: pluggy.PluginManager, plugin: object) -> Iterator[tuple[str, Callable[..., object]]]:
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is not None:
            yield options.get("specname") or attribute, getattr(plugin, attribute)


def _upgrade(info: PluginInfo) -> str:
    return f"pip install --upgrade {info.distribution}, or report it to its authors"


@contextmanager
def _nothing_left_behind(info: PluginInfo) -> Iterator[None]:
    """After a failure forget the plugin's modules that this load brought, so that a mended plugin loads afresh."""
    before = set(sys.modules)
    try:
        yield
    except BaseException:
        package = info.target.partition(":")[0].strip().partition(".")[0]
        for module in set(sys.modules) - before:
            if module.partition(".")[0] == package:
                del sys.modules[module]
        raise

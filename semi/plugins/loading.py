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
from semi.plugins.hookspecs import FoundationSource
from semi.plugins.listing import GROUPS, Kind, PluginInfo, list_plugins


def load_modality(name: str) -> Modality:
    """The modality that users call `name`.

    Raises:
        PluginError: unknown, offered twice, made for another semi-llm, or broken.
    """
    info = _find(name, "modality")
    if info.target == "":
        from semi.vectors import Vectors

        return Vectors()
    modality: Modality = _load(info, Modality)
    return modality


def load_dataset(name: str) -> Dataset:
    """The data set that users call `name`; raises PluginError as `load_modality` does."""
    dataset: Dataset = _load(_find(name, "dataset"), Dataset)
    return dataset


def load_foundation(name: str) -> FoundationSource:
    """Where the foundation that users call `name` lies; raises PluginError as `load_modality` does."""
    source: FoundationSource = _load(_find(name, "foundation"), FoundationSource)
    return source


def _find(name: str, kind: Kind) -> PluginInfo:
    """The one usable offer of that name."""
    plugins = list_plugins()
    known = [plugin.name for plugin in plugins if plugin.kind == kind]
    found = next((plugin for plugin in plugins if (plugin.kind, plugin.name) == (kind, name)), None)
    if found is None:
        near = get_close_matches(name, known, n=1)
        raise PluginError(
            f"unknown {kind} {name!r}",
            expected=f"one of {', '.join(dict.fromkeys(known))}" if known else f"an installed plugin with a {kind}",
            do=f"did you mean {near[0]!r}?" if near else "install the plugin that brings it; `semi plugins` lists them",
        )
    if found.state != "available":
        raise PluginError(f"{kind} {name!r} of {found.distribution} cannot be used: {found.cause}", do=found.fix)
    return found


def _load(info: PluginInfo, expected: type[Any]) -> Any:
    """What the plugin's hook answers to its name: an instance of `expected` that bears this name."""
    name, hook = info.name, f"semi_{info.kind}"
    title = f"{info.kind} {name!r} of {info.distribution} {info.version}"
    with _nothing_left_behind(info):
        call = _validated(_imported(info, title), hook, info, title)
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
        if not isinstance(thing, expected) or getattr(thing, "name", None) != name:
            raise PluginError(
                f"{title}: its hook {hook}(name) gave something else",
                got=f"one named {getattr(thing, 'name', None)!r}" if isinstance(thing, expected) else repr(thing),
                expected=f"a {expected.__name__} named {name!r}",
                do=_upgrade(info),
            )
    return thing


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
        if _parameters(signature) != _parameters(specs[name]):
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

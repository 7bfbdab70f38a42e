"""Checks of an installation: each finds one thing, says whether it is well, and if not how to mend it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from semi.assets import cache_dir
from semi.assets.lookup import all_assets
from semi.errors import SemiError
from semi.plugins import list_plugins, load_dataset, load_foundation, load_modality
from semi.plugins.listing import CORE

GIB = 2**30
MEMORY_NEEDED = 6 * GIB  # adapting the smallest foundation stays below it
DISK_NEEDED = 1 * GIB  # the default language model, unpacked and dequantised once, and an encoder or two
REINSTALL = f"pip uninstall --yes semi; pip install --force-reinstall --no-deps {CORE}"


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    state: Literal["ok", "warn", "fail"]
    cause: str
    """One line: what was found."""
    fix: str | None = None
    """What to do, where the state is not ok."""


def examine() -> list[Check]:
    """Every check, none of which can keep the others from running. Imports torch and every plugin."""
    checks: list[Check] = []
    for probe in (_identity, _platform, _packages, _gpu, _machine, _cache, _plugins, _assets):
        try:
            checks.extend(probe())
        except Exception as error:  # a check that breaks is a finding too
            cause = f"the check itself broke: {type(error).__name__}: {_one_line(error)}"
            checks.append(Check(probe.__name__.lstrip("_"), "fail", cause, "report it with this line"))
    return checks


def _identity() -> Iterator[Check]:
    """Is the package that answers to `import semi` ours? PyPI has an unrelated one called `semi`."""
    import semi

    here = Path(semi.__file__ or "").resolve()
    if any(canonicalize_name(found.name or "") == "semi" for found in metadata.distributions()):
        cause = f"the unrelated PyPI package `semi` is installed beside {CORE}, and both are imported as `semi`"
        yield Check("semi", "fail", cause, REINSTALL)
        return
    try:
        core = metadata.distribution(CORE)
    except metadata.PackageNotFoundError:
        yield Check("semi", "warn", f"{CORE} is not installed: running from {here.parent}", "pip install --editable .")
        return
    home = _home(core)
    if home != here:
        cause = f"`import semi` gives {here}, and {CORE} {core.version} is installed as {home}"
        yield Check("semi", "fail", cause, f"run outside {here.parents[1]}, or: {REINSTALL}")
    elif _overwritten(core, here):
        cause = f"{here} is not the file that {CORE} {core.version} installed: another package wrote over it"
        yield Check("semi", "fail", cause, REINSTALL)
    else:
        yield Check("semi", "ok", f"{CORE} {core.version} in {here.parent}")


def _home(core: metadata.Distribution) -> Path:
    """Where the distribution's `semi/__init__.py` should be, in the source folder if it is an editable install."""
    origin = json.loads(core.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return Path(url2pathname(urlparse(origin["url"]).path), "semi", "__init__.py").resolve()
    return Path(str(core.locate_file("semi/__init__.py"))).resolve()


def _overwritten(core: metadata.Distribution, here: Path) -> bool:
    """Whether the installer recorded another hash for `semi/__init__.py`; editable installs record none."""
    for file in core.files or []:
        if file.as_posix() == "semi/__init__.py" and file.hash is not None:
            digest = hashlib.new(file.hash.mode, here.read_bytes()).digest()
            return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value
    return False


def _platform() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield Check("platform", "ok", platform.platform())


def _packages() -> Iterator[Check]:
    """Versions against what semi-llm asks for, and whether the packages can be imported at all."""
    try:
        wanted = {canonicalize_name(r.name): r for r in map(Requirement, metadata.requires(CORE) or [])}
    except metadata.PackageNotFoundError:
        wanted = {}
    absences: dict[str, tuple[Literal["ok", "warn", "fail"], str, str]] = {
        "torch": ("fail", "nothing can run without it", "pip install torch"),
        "transformers": ("fail", "no language model can be loaded", "pip install transformers"),
        "triton": ("ok", "it is for GPUs only", ""),
        "bitsandbytes": ("warn", "--precision nf4 cannot be used; q4_1 can", f"pip install '{CORE}[nf4]'"),
    }
    for name, (state, loss, fix) in absences.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Check(name, state, f"not installed: {loss}", fix or None)
            continue
        requirement = wanted.get(canonicalize_name(name))
        if requirement is not None and not requirement.specifier.contains(version, prereleases=True):
            cause = f"{version} is installed, and {CORE} wants {requirement.specifier}"
            yield Check(name, "fail", cause, f"pip install '{name}{requirement.specifier}'")
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import_module(name)
            yield Check(name, "ok", version)
        except Exception as error:
            cause = f"{version} cannot be imported: {type(error).__name__}: {_one_line(error)}"
            yield Check(name, "warn" if state == "ok" else state, cause, f"pip install --force-reinstall {name}")


def _gpu() -> Iterator[Check]:
    try:
        import torch
    except Exception:  # already a finding of its own
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    if usable:
        properties = torch.cuda.get_device_properties(0)
        found = f"{torch.cuda.device_count()} x {properties.name}, {properties.total_memory / GIB:.0f} GiB"
        yield Check("gpu", "ok", found)
    elif Path("/dev/nvidiactl").exists():
        reason = _one_line(caught[0].message) if caught else f"torch {torch.__version__} does not see it"
        fix = "install a torch build that fits the driver: https://pytorch.org/get-started/locally"
        yield Check("gpu", "warn", f"there is one, but {reason}", fix)
    else:
        yield Check("gpu", "ok", "none: the CPU does the work")


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("cpu", "ok", f"{cores} cores")
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        yield Check("memory", "ok", "not known on this system")
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory < MEMORY_NEEDED:
        cause = f"{memory / GIB:.1f} GiB, and adapting may need {MEMORY_NEEDED / GIB:.0f}"
        yield Check("memory", "warn", cause, "close other programs, or adapt on a larger machine")
    else:
        yield Check("memory", "ok", f"{memory / GIB:.1f} GiB")


def _cache() -> Iterator[Check]:
    cache = cache_dir()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    fix = "set SEMI_CACHE to a folder that can be written to and has room"
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"semi")
        yield Check("cache", "ok", f"{cache} can be written to")
    except OSError as error:
        yield Check("cache", "fail", f"{cache} cannot be written to: {_one_line(error)}", fix)
    free = shutil.disk_usage(existing).free
    state: Literal["ok", "warn"] = "warn" if free < DISK_NEEDED else "ok"
    yield Check("disk", state, f"{free / GIB:.1f} GiB free for {cache}", fix if state == "warn" else None)


def _plugins() -> Iterator[Check]:
    """Loads every plugin, each in a try of its own."""
    loaders: dict[str, Callable[[str], object]] = {
        "modality": load_modality,
        "dataset": load_dataset,
        "foundation": load_foundation,
    }
    for plugin in list_plugins():
        title, owner = f"{plugin.kind} {plugin.name}", f"{plugin.distribution} {plugin.version}"
        if plugin.state != "available":
            yield Check(title, "fail", f"{owner}: {plugin.cause}", plugin.fix)
            continue
        try:
            loaders[plugin.kind](plugin.name)
            yield Check(title, "ok", owner)
        except SemiError as error:
            cause = error.what if error.got is None else f"{error.what}: {error.got}"
            yield Check(title, "fail", _one_line(cause), error.do or f"pip install --upgrade {plugin.distribution}")


def _assets() -> Iterator[Check]:
    """What semi and its plugins need before they run."""
    known, _ = all_assets()  # plugins that could not be asked are findings already
    for asset in known.values():
        if asset.present():
            yield Check(f"asset {asset.name}", "ok", str(asset.folder()))
        else:
            cause = f"not fetched yet ({asset.about})"
            yield Check(f"asset {asset.name}", "warn", cause, f"semi fetch {asset.name}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())

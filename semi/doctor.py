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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from semi.assets import cache_dir
from semi.assets.lookup import assets_of
from semi.plugins import PluginInfo
from semi.plugins.check import check_installed
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
    """Every check, none of which can keep the others from running. Imports torch and every plugin that works."""
    checks: list[Check] = []
    for probe in (_identity, _platform, _packages, _gpu, _kernels, _machine, _cache, _plugins):
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


def _kernels() -> Iterator[Check]:
    """Which implementation of semi_kernels computes here, and why."""
    try:
        import torch
    except Exception:  # already a finding of its own
        return
    from semi_kernels import configurations, dispatch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `_gpu` tells of a GPU that torch cannot use
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = f"SEMI_KERNELS={os.environ.get('SEMI_KERNELS', 'auto')}"
    try:
        used = dispatch.use_triton(torch.empty(0, device=device))
    except ValueError as error:
        yield Check("kernels", "fail", _one_line(error), "unset SEMI_KERNELS")
        return
    if used:
        gpu = configurations.gpu(device)
        like = configurations.nearest(gpu.name, gpu.capability, gpu.backend)["gpu"]
        where = f"{gpu.name}, configured as {like}" if device.type == "cuda" else "the CPU, by its slow interpreter"
        yield Check("kernels", "ok", f"Triton {import_module('triton').__version__} on {where} ({chosen})")
    elif dispatch.mode() == "auto" and device.type == "cuda":
        cause = f"the PyTorch reference, because triton is not installed ({chosen})"
        yield Check("kernels", "warn", cause, f"pip install '{CORE}[kernels]'")
    else:
        why = chosen if dispatch.mode() == "reference" else f"there is no GPU ({chosen})"
        yield Check("kernels", "ok", f"the PyTorch reference, because {why}")


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Check("cpu", "ok", f"{cores} cores{_computes()}")
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        yield Check("memory", "ok", "not known on this system")
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory < MEMORY_NEEDED:
        cause = f"{memory / GIB:.1f} GiB, and adapting may need {MEMORY_NEEDED / GIB:.0f}"
        yield Check("memory", "warn", cause, "close other programs, or adapt on a larger machine")
    else:
        yield Check("memory", "ok", f"{memory / GIB:.1f} GiB")


def _computes() -> str:
    """What language models compute in on this CPU."""
    try:
        import torch
    except Exception:  # already a finding of its own
        return ""
    from semi.weights import compute_dtype

    capability, fast = torch.backends.cpu.get_cpu_capability(), compute_dtype("bf16", torch.device("cpu"))
    return f", {capability}: language models compute in {'bf16' if fast == torch.bfloat16 else 'fp32'}"


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
    """Loads every plugin, each in a process of its own, then tells what those that load need before they run."""
    healthy = []
    for checked in check_installed():
        plugin = checked.plugin
        title, owner = f"{plugin.kind} {plugin.name}", f"{plugin.distribution} {plugin.version}"
        if plugin.state == "loaded":
            healthy.append(plugin)
            yield Check(title, "ok", owner)
        elif plugin.state == "blocked":
            yield Check(title, "ok", f"{owner}, not used: {plugin.cause}")
        else:
            cause = plugin.cause or plugin.state
            whole = cause if plugin.distribution in cause else f"{owner}: {cause}"
            yield Check(title, "fail", whole, plugin.fix or f"pip install --upgrade {plugin.distribution}")
    yield from _assets(healthy)


def _assets(healthy: Iterable[PluginInfo]) -> Iterator[Check]:
    """What semi and these plugins need before they run."""
    for asset in assets_of(healthy).values():
        if asset.present():
            yield Check(f"asset {asset.name}", "ok", str(asset.folder()))
        else:
            cause = f"not fetched yet ({asset.about})"
            yield Check(f"asset {asset.name}", "warn", cause, f"semi fetch {asset.name}")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())

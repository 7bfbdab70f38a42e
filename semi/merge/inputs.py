"""The folders that a merge reads: found, opened, described, hashed, and watched for changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import semi
from semi.artifacts import hub
from semi.assets.catalog import CORE
from semi.errors import ArtifactError, InputError
from semi.merge.agreement import CONFIG, require_same_settings
from semi.merge.beside import Beside, look_beside
from semi.merge.checkpoint import Checkpoint, first_ten
from semi.merge.config import MergeConfig, ModelConfig
from semi.merge.lora import LoraAdapter
from semi.merge.matching import Model
from semi.weights import BESIDE, asset_folder

BASE = "base"
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
_UNREAD = ["*/*.safetensors", "consolidated*.safetensors"]
"""Weights that are no part of a transformers folder: those of folders in it, and the same ones in another format."""
_PIECE = 1 << 20


@dataclass(frozen=True)
class Inputs:
    """What a merge reads.

    Attributes:
        base: the base, open.
        models: the models by name, open.
        files: what is read, by "base/NAME" or "models.MODEL/NAME".
        copied: other files of each model, by their names below its folder; of an adapter, the base's and its own.
        beside: those of them that hold tensors, and how many.
        notes: parameters that are not copied and settings that are not compared, in words.
    """

    base: Checkpoint
    models: Mapping[str, Model]
    files: Mapping[str, Path]
    copied: Mapping[str, Mapping[str, Path]]
    beside: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]
    _seen: Mapping[str, str]

    def describe(self, config: MergeConfig) -> dict[str, Any]:
        """All that the result depends on, for an output folder: settings, this version, sizes and times of files."""
        return settings(config) | {"semi": semi.__version__} | dict(self._seen)

    def require_unchanged(self) -> None:
        """Refuse to go on with files that have changed since they were opened.

        Raises:
            InputError: names them.
        """
        now = _states(self.files, self.copied)
        changed = [f"{name}: {state} then, {now[name]} now" for name, state in self._seen.items() if now[name] != state]
        if changed:
            raise InputError(
                "files of the models changed while they were merged",
                got=first_ten(changed),
                expected="the same files from beginning to end",
                do="run the command again, with --force if it is refused, when nobody writes to them",
            )

    def hashes(self, told: Callable[[int], None]) -> dict[str, str]:
        """sha256 of each of `files`; `told` hears how many bytes were read since the last call."""
        found = {}
        for name, path in self.files.items():
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    told(len(piece))
            found[name] = digest.hexdigest()
        return found

    @property
    def nbytes(self) -> int:
        """Of `files`."""
        return sum(path.stat().st_size for path in self.files.values())

    @property
    def copied_nbytes(self) -> int:
        """Of what is copied."""
        return sum(path.stat().st_size for paths in self.copied.values() for path in paths.values())


def settings(config: MergeConfig) -> dict[str, Any]:
    """The settings that the result depends on, by their names in the YAML: a configuration of the same merge."""
    said = config.model_dump(mode="json", by_alias=True)
    if config.rule != "tall":  # a lambda may be given only where it has a part
        del said["mask"]["lambda"]
    return said | {"io": {"shard": config.io.shard}}


@contextmanager
def open_inputs(config: MergeConfig) -> Iterator[Inputs]:
    """Open the base and the models of a configuration, for a `with` block.

    Raises:
        ArtifactError: a folder is not there, or as `Checkpoint.open`, `LoraAdapter.open` and `require_same_settings`;
            a file of tensors beside a model's weights cannot be copied.
    """
    with ExitStack() as stack:
        folder = find_folder(config.base_model)
        base = stack.enter_context(Checkpoint.open(folder))
        of_base = _read(base, folder)
        files = {f"{BASE}/{path.name}": path for path in of_base}
        models: dict[str, Model] = {}
        beside: dict[str, Beside] = {}
        configs: dict[str, Path] = {}
        for model in config.models:
            own = find_folder(model.path)
            models[model.name] = _open(own, model)
            stack.callback(models[model.name].close)
            read = _read(models[model.name], own)
            files |= {f"models.{model.name}/{path.name}": path for path in read}
            beside[model.name] = look_beside(own, models[model.name], read)
            if model.adapter == "lora":
                beside[model.name] = look_beside(folder, base, of_base) | beside[model.name]
            configs[model.name] = own / CONFIG
        require_same_settings(folder / CONFIG, configs)
        _require_placed(beside)
        copied = {name: found.copied for name, found in beside.items()}
        tensors = {name: found.tensors for name, found in beside.items()}
        notes = [f"{name}: {said}" for name, found in beside.items() for said in found.left]
        notes += _not_compared(config, folder / CONFIG, configs)
        yield Inputs(base, models, files, copied, tensors, tuple(notes), _states(files, copied))


def find_folder(name: str) -> Path:
    """A folder by its path, by the name of an asset, or by its id on the hub: OWNER/NAME, or OWNER/NAME@REVISION.

    A language model that `semi fetch` brings is the folder that `semi.weights.dequantised` makes of it. Of the hub's
    folder only weights in safetensors, configuration and tokenizer are fetched.

    Raises:
        ArtifactError: there is none of these; says where the folder was looked for.
        AssetError: the asset was not fetched.
    """
    if name in CORE and not Path(name).is_dir():
        return asset_folder(name)
    try:
        return hub.find_folder(name, ["*.safetensors", *BESIDE], ignore_patterns=_UNREAD)
    except ArtifactError as error:
        raise ArtifactError(
            error.what,
            got=error.got,
            expected=f"a folder {_absolute(name)}, an asset ({', '.join(CORE)}), or OWNER/NAME of the hub",
            do=error.do,
        ) from error


def located(config: MergeConfig) -> MergeConfig:
    """The same merge with absolute paths, by which its folders are found from any working directory."""
    models = [model.model_copy(update={"path": _located(model.path)}) for model in config.models]
    return config.model_copy(update={"base_model": _located(config.base_model), "models": models})


def _located(name: str) -> str:
    """Names of assets and of the hub stay as they are."""
    return str(_absolute(name)) if _absolute(name).is_dir() else name


def _absolute(name: str) -> Path:
    return Path(name).expanduser().absolute()


def _open(folder: Path, model: ModelConfig) -> Model:
    if model.adapter == "lora":
        return LoraAdapter.open(folder, model.llm_prefix)
    return Checkpoint.open(folder, model.llm_prefix)


def _not_compared(config: MergeConfig, base: Path, models: Mapping[str, Path]) -> list[str]:
    """Of an adapter no config.json is expected: it computes as its base does."""
    if not base.is_file():
        return [f"the base has no {CONFIG}: whether the models compute as it does was not compared"]
    without = [m.name for m in config.models if m.adapter == "none" and not models[m.name].is_file()]
    return [f"{name}: has no {CONFIG}: whether it computes as the base does was not compared" for name in without]


def _require_placed(beside: Mapping[str, Beside]) -> None:
    problems = [f"{name}: {problem}" for name, found in beside.items() for problem in found.problems]
    if problems:
        raise ArtifactError(
            "files beside the models' weights cannot be copied",
            got=first_ten(problems),
            expected="tensors that the weights lack, such as encoders and connectors, in files of other names",
            do="move older weights out of the folders, or rename what belongs there",
        )


def _read(model: Model, folder: Path) -> list[Path]:
    if isinstance(model, LoraAdapter):
        return [folder / name for name in _ADAPTER]
    return sorted({model.info(key).file for key in model.keys})


def _states(files: Mapping[str, Path], copied: Mapping[str, Mapping[str, Path]]) -> dict[str, str]:
    """Size and time of each file, in words."""
    copies = {f"models.{model}/{name}": path for model, paths in copied.items() for name, path in paths.items()}
    return {name: _state(path) for name, path in sorted((copies | dict(files)).items())}


def _state(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError as error:
        return error.strerror or "unreadable"
    return f"{stat.st_size:,} bytes of {stat.st_mtime_ns}"

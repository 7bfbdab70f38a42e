"""`semi merge run`: from the models' files to the artifact, in bounded memory, resumable wherever it was killed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from semi.artifacts import OutputFolder, open_output, sha256_of, write_json
from semi.merge.artifact import FORMAT, KIND, MERGE
from semi.merge.budget import Limit, find_limits
from semi.merge.config import MergeConfig
from semi.merge.copying import copy_files, copy_tensors
from semi.merge.description import describe_model, hashes_of, kept_names
from semi.merge.encoding import Encoder
from semi.merge.inputs import BASE, Inputs, find_folder, located, open_inputs, settings
from semi.merge.inventory import BLOCK, Inventory, take_inventory
from semi.merge.journal import Journal
from semi.merge.plan import disk_needed, prefetches, require_disk, require_possible
from semi.merge.reading import DeltaReader
from semi.merge.search import read_prompts, readings, search_lambdas
from semi.merge.sink import Sink
from semi.merge.statistics import Statistics, passes, take_statistics

JOURNAL = "journal.jsonl"
SYNC = 64 << 20
"""Bytes after which the journal is told: what a power cut or a kill can take. Waiting for the disk costs time."""

Advance = Callable[[int, int, str], None]
"""Told (bytes done, bytes in all, what) within a stage."""


def run_merge(
    config: MergeConfig,
    out: str | Path,
    *,
    force: bool = False,
    advance: Advance = lambda done, total, what: None,
) -> dict[str, Any]:
    """Merge the models of a configuration into the folder `out`.

    The result depends on the configuration and the inputs alone, byte for byte: not on memory, threads, or how often it
    was interrupted. Memory stays below `io.max_memory`: blocks have a fixed size, and the next one is only read ahead
    where there is room (see `semi.merge.plan.memory_needed`).

    Args:
        config: the merge.
        out: the folder; where an interrupted run with the same inputs left its files, it goes on.
        force: start afresh over what is there; see `semi.artifacts.open_output`.
        advance: told how far the stage is.

    Returns:
        The manifest's info: "configuration", "certificate" (`Fidelity.report`), "lossless" where storing loses
        something (the same figures without that loss), "notes".

    Raises:
        ArtifactError: an input is missing, damaged or does not fit; names all problems.
        InputError: too little memory is allowed, a delta is not finite, an input changed meanwhile, lambda is to be
            found and there are no prompts, or a budget of bits is too small for anything.
        OutputError: the folder is taken, or the disk is too small.
    """
    config = located(config)
    with open_inputs(config) as inputs:
        inventory = take_inventory(inputs.base, inputs.models, config)
        require_possible(inventory, config)
        described = inputs.describe(config)
        if config.mask.prompts is not None:
            described["prompts"] = sha256_of(Path(config.mask.prompts).expanduser())
        with open_output(out, kind=KIND, config=described, force=force) as folder:
            require_disk(disk_needed(inventory, inputs, config), folder.path)
            with Journal(folder.path / JOURNAL) as journal:
                if not config.io.resume:
                    journal.clear()
                return _Run(inputs, inventory, config, folder, journal, advance).go()


class _Run:
    """The stages of one merge, each of which finds in the journal what an interrupted run has done of it."""

    def __init__(
        self,
        inputs: Inputs,
        inventory: Inventory,
        config: MergeConfig,
        folder: OutputFolder,
        journal: Journal,
        advance: Advance,
    ) -> None:
        self._inputs, self._inventory = inputs, inventory
        self._given = self._config = config  # the one as it was given, the other with its lambdas settled
        self._folder, self._journal, self._advance = folder, journal, advance

    def go(self) -> dict[str, Any]:
        hashes = self._once("hashes", self._hash)
        statistics = Statistics.restore(self._once("statistics", self._take_statistics))
        search = self._once("search", lambda: self._search(statistics)) if self._config.unsettled else None
        self._config = config = self._given.settled(search["found"] if search else {})
        limits = self._once("limits", lambda: self._find_limits(statistics)) if config.budget is not None else []
        lines = [line for line in self._journal.lines if "tensor" in line]
        with Sink(self._folder.path, config, [line["files"] for line in lines]) as sink:
            state = lines[-1] if lines else None
            encoder = Encoder(self._inventory, config, statistics, [Limit(*limit) for limit in limits], state)
            lines += self._encode(encoder, sink, done={line["tensor"] for line in lines})
            self._tell("Writing files")
            files = sink.finish(encoder.scales)
        self._tell("Copying")
        files += copy_tensors(self._inventory, self._folder.path, config.io.shard)
        files += copy_files(self._inputs.copied, self._folder.path)
        searched = {"search": search} if search else {}
        write_json(self._folder.path / MERGE, self._description(hashes, lines) | searched)
        self._inputs.require_unchanged()
        info = {
            "configuration": settings(self._given),
            **encoder.certificates(),
            "notes": [*self._inventory.notes, *self._inputs.notes],
        }
        self._tell("Hashing the result")
        self._folder.finish([*files, MERGE], info)
        return info

    def _once(self, name: str, work: Callable[[], Any]) -> Any:
        """The result of a stage, from the journal if it is there."""
        found = [line[name] for line in self._journal.lines if name in line]
        if found:
            return found[0]
        result = work()
        self._inputs.require_unchanged()
        self._journal.add({name: result})
        return result

    def _hash(self) -> dict[str, str]:
        return self._inputs.hashes(self._stage("Hashing the models", self._inputs.nbytes))

    def _take_statistics(self) -> dict[str, Any]:
        if not passes(self._config):
            return Statistics({}, {}).state()
        reader = self._reader("Measuring", passes(self._config))
        return take_statistics(self._inventory, self._config, reader).state()

    def _search(self, statistics: Statistics) -> dict[str, Any]:
        config, file = self._config, str(self._config.mask.prompts)
        told = self._stage("Finding lambda", readings(config) * self._inventory.sizes(config).read)
        folder = find_folder(config.base_model)
        found = search_lambdas(self._inventory, config, statistics, folder, read_prompts(file), told)
        return {"file": file, "sha256": sha256_of(Path(file).expanduser())} | found

    def _find_limits(self, statistics: Statistics) -> list[list[int]]:
        limits = find_limits(self._inventory, self._config, statistics, self._reader("Weighing rows", 1))
        return [[limit.bucket, limit.left] for limit in limits]

    def _encode(self, encoder: Encoder, sink: Sink, done: set[str]) -> list[dict[str, Any]]:
        """Encode the tensors that are not done; lines of the journal, which hears of them a batch at a time."""
        lines: list[dict[str, Any]] = []
        waiting: list[dict[str, Any]] = []

        def keep() -> None:
            sink.sync()
            self._journal.add(*waiting)
            waiting.clear()

        def ended(line: dict[str, Any]) -> None:
            lines.append(line)
            waiting.append(line)
            if sink.pending >= SYNC:
                keep()

        blocks = [block for block in self._inventory.blocks() if block.key not in done]
        if blocks:
            encoder.run(blocks, self._reader("Merging", 1), sink, ended)
            keep()
        return lines

    def _reader(self, what: str, times: int) -> DeltaReader:
        told = self._stage(what, times * self._inventory.sizes(self._config).read)
        return DeltaReader(self._inventory, ahead=prefetches(self._inventory, self._config), told=told)

    def _stage(self, what: str, total: int) -> Callable[[int], None]:
        done = 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            self._advance(min(done, total), total, what)

        return told

    def _tell(self, what: str) -> None:
        self._advance(0, 0, what)

    def _description(self, hashes: Mapping[str, str], lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """merge.json."""
        config, inventory = self._config, self._inventory
        codecs = {line["tensor"]: {"codec": line["codec"], "masks": line["masks"]} for line in lines}
        entries = {}
        for key, entry in inventory.entries.items():
            info = inventory.base.info(key)
            own = codecs.get(key, {})
            entries[key] = {"kind": entry.kind, "shape": list(info.shape), "dtype": info.dtype, **own}
        models = [describe_model(model, config, inventory, hashes) for model in config.models]
        return {
            "format": FORMAT,
            "block": BLOCK,
            "tau": config.merge.tau,
            "method": config.merge.method,
            "rule": config.rule,
            "scale": config.scale,
            "base": {"id": config.base_model, "files": hashes_of(BASE, hashes), "tied": inventory.base.tied},
            "models": models,
            "entries": entries,
            "kept": {name: kept_names(name, inventory) for name in inventory.models},
        }

"""Shards computed by several processes, on one machine or a cluster, by Ray Data (extra `ray`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from semi.encoding.embedding import batches, joined
from semi.encoding.engine import Shard
from semi.errors import InputError, PluginError, SemiError
from semi.modality import Encoder

if TYPE_CHECKING:
    import numpy as np


class RayEngine:
    """Encoder actors behind Ray Data's streaming executor, which holds back what the writer cannot take yet.

    Each actor computes whole shards in the batches of the local loop and with as many threads, so that the bytes are
    the same. A shard whose worker died is given to another. Only this process writes: the folder need not be shared.

    The cluster is the one that Ray is connected to already, or that RAY_ADDRESS names; else one is started for the run
    on this machine, with a CPU a worker, without dashboard or usage statistics.
    """

    def __init__(self, load: Callable[[], Encoder], *, workers: int = 2, memory: int = 2**30, tries: int = 4) -> None:
        """Prepare; nothing is started yet.

        Args:
            load: makes the encoder in each worker; it is pickled.
            workers: encoder actors; no more than there are shards are started.
            memory: bytes of the object store of a cluster started here; what does not fit waits on disk.
            tries: how often a shard is begun before its samples are held to be what ends the workers.

        Raises:
            InputError: Ray is not installed.
        """
        try:
            import ray.data
        except ImportError as error:
            raise InputError(
                "this engine needs the package ray, which is not installed", do="pip install 'semi-llm[ray]'"
            ) from error
        self._ray: Any = ray
        self._load, self._workers, self._memory, self._tries = load, workers, memory, tries

    def run(
        self, encoder: Encoder, shards: Sequence[Shard], advance: Callable[[int], None]
    ) -> Iterator[tuple[Shard, np.ndarray]]:
        """See `semi.encoding.Engine`.

        Raises:
            SemiError: a shard ended its worker again and again, or Ray failed.
        """
        if not shards:
            return
        with self._cluster():
            known = {shard.index: shard for shard in shards}
            try:
                for row in self._dataset(encoder, shards).iter_rows():
                    shard = known.pop(row["shard"])
                    advance(len(shard.pairs))
                    yield shard, row["embeddings"].copy()  # the object store's memory cannot be written to
            except self._ray.exceptions.RayTaskError as error:
                raise (error.cause if isinstance(error.cause, Exception) else _failed(error)) from error
            except self._ray.exceptions.RayError as error:
                raise _failed(error) from error

    def _dataset(self, encoder: Encoder, shards: Sequence[Shard]) -> Any:
        import torch

        ray = self._ray
        rows = [{"shard": shard.index, "start": shard.start} for shard in shards]
        # Beside the rows, where Arrow would turn tuples, arrays and objects of different keys into something else.
        samples = {shard.index: ray.put(shard.samples) for shard in shards}
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        dataset.context.enable_progress_bars = False
        dataset.context.print_on_execution_start = False
        dataset.context.raise_original_map_exception = True
        return dataset.map(
            _Worker,
            fn_constructor_kwargs={
                "load": self._load,
                "encoder_id": encoder.id,
                "samples": samples,
                "tries": ray.remote(num_cpus=0)(_Tries).remote(self._tries),
            },
            compute=ray.data.ActorPoolStrategy(size=min(self._workers, len(rows))),
            num_cpus=1,
            # Some sums depend on how many threads share them.
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(torch.get_num_threads())}},
        )

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        ray = self._ray
        if ray.is_initialized():
            yield
            return
        if address := os.environ.get("RAY_ADDRESS"):
            ray.init(address, log_to_driver=False, logging_level="error")
        else:
            ray.init(
                "local",
                num_cpus=self._workers,
                object_store_memory=self._memory,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
            )
        try:
            yield
        finally:
            ray.shutdown()


class _Worker:
    """An encoder in a process of its own."""

    def __init__(self, load: Callable[[], Encoder], encoder_id: str, samples: dict[int, Any], tries: Any) -> None:
        self._load, self._encoder_id, self._samples, self._tries = load, encoder_id, samples, tries

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """{"shard", "start"} -> {"shard", "embeddings"}."""
        import ray

        samples = ray.get(self._samples[row["shard"]])
        if died := ray.get(self._tries.too_many.remote(row["shard"])):
            raise SemiError(
                f"{died} workers died of samples {row['start'] + 1} to {row['start'] + len(samples)}",
                expected="an encoder that neither crashes nor takes more memory than there is",
                do="encode them without --engine ray to see the cause, or leave them out",
            )
        parts = list(batches(self._encoder, samples, row["start"]))
        return {"shard": row["shard"], "embeddings": joined(self._encoder, parts)}

    @cached_property
    def _encoder(self) -> Encoder:
        # Not in __init__: Ray starts an actor anew whose constructor fails, where this is the error of a shard.
        encoder = self._load()
        if encoder.id != self._encoder_id:
            raise PluginError(
                "a worker has another version of the encoder",
                got=encoder.id,
                expected=self._encoder_id,
                do="install the same version of its plugin on all machines",
            )
        return encoder


class _Tries:
    """Counts across all workers how often each shard was begun."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun: Counter[int] = Counter()

    def too_many(self, shard: int) -> int:
        """Begin it once more: 0, or how often it was begun before where that is all there may be."""
        self._begun[shard] += 1
        return self._most if self._begun[shard] > self._most else 0


def _failed(error: Exception) -> SemiError:
    return SemiError(
        "Ray could not go on",
        got=(str(error) or type(error).__name__).splitlines()[0],
        do="run the same command again: shards that are finished stay; Ray's logs are in /tmp/ray/session_latest/logs",
    )

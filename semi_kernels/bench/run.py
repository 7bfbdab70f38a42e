"""Measuring cases: every provider that can compute one, side by side, with its floor, roof and error."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from semi_kernels import dispatch
from semi_kernels.bench import hardware, timers
from semi_kernels.bench.accuracy import error, results, truth
from semi_kernels.bench.cases import Case
from semi_kernels.bench.floors import floor, roof, work
from semi_kernels.bench.launches import launched
from semi_kernels.bench.problems import Problem, draw
from semi_kernels.bench.providers import COMPILED, OURS, PROVIDERS, Prepared, Provider
from semi_kernels.bench.report import Row

NO_WIN = "no win at this shape"


@dataclass
class Bench:
    """How to measure on one device."""

    device: torch.device
    quick: bool = False
    """Fewer repeats, and nothing is compiled on a CPU."""
    providers: Sequence[Provider] = PROVIDERS
    _nulls: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_interpreter(self.device)

    def rows(self, cases: Iterable[Case], advance: Callable[[int], object] = lambda done: None) -> Iterator[Row]:
        """Rows of all cases as they are measured."""
        for done, case in enumerate(cases):
            yield from self.measure(case)
            advance(done + 1)

    def measure(self, case: Case) -> list[Row]:
        """A row for each provider and launch mode; one that cannot compute the case has no times and says why."""
        cuda = self.device.type == "cuda"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peers' own; what goes wrong here raises
            if not cuda:
                return self._on_cpu(case)
            new_stream: Callable[..., torch.cuda.Stream] = torch.cuda.Stream
            stream = new_stream(self.device)
            with torch.cuda.device(self.device), torch.cuda.stream(stream):
                return self._on_gpu(case)

    def _on_cpu(self, case: Case) -> list[Row]:
        problem = draw(case, self.device)
        right = truth(problem)
        sets = [problem, *(problem.clone(seed) for seed in range(1, self._copies(problem, most=4)))]
        rows: list[Row] = []
        contenders: list[list[Callable[[], object]]] = []
        measured: list[Row] = []
        for provider in self.providers:
            why, wrong = self._obstacle(provider, case), None
            note, calls = "", []
            try:
                if why is None:
                    prepared = [provider.prepare(one) for one in sets]
                    note, wrong = prepared[0].note, error(results(problem, prepared[0]), right)
                    calls = [call(case, one, p) for one, p in zip(sets, prepared, strict=True)]
                for again in [*calls[:1]] * 2:  # a call that cannot be repeated shows here
                    again()
            except Exception as failure:  # a peer that breaks is a row that says so
                why = _failed(failure)
            row = self._row(case, provider, "eager", wrong, why or note, possible=why is None)
            rows.append(row)
            if not why:
                measured.append(row)
                contenders.append(calls)
        if contenders:
            found = timers.side_by_side(contenders, seconds=1.2 if self.quick else 3.0)
            for row, timing in zip(measured, found, strict=True):
                self._time(row, timing)
        _judge(rows)
        return rows

    def _on_gpu(self, case: Case) -> list[Row]:
        problem = draw(case, self.device)
        right = truth(problem)
        sets = [problem, *(problem.clone(seed) for seed in range(1, self._copies(problem, most=160)))]
        rows: list[Row] = []
        for provider in self.providers:
            why, note, wrong, kernels, calls = self._obstacle(provider, case), "", None, None, []
            try:
                if why is None:
                    prepared = [provider.prepare(one) for one in sets]
                    note, wrong = prepared[0].note, error(results(problem, prepared[0]), right)
                    calls = [call(case, one, p) for one, p in zip(sets, prepared, strict=True)]
                    if provider is OURS:
                        kernels = len(launched(calls[0]))
            except Exception as failure:
                why = _failed(failure)
            for launch, clock in (("graph", timers.graph), ("eager", timers.eager)):
                row = self._row(case, provider, launch, wrong, why or note, possible=why is None)
                row["launches"] = kernels
                rows.append(row)
                if why is None:
                    try:
                        self._time(row, clock(calls))
                    except Exception as failure:  # what cannot be captured has no graph
                        torch.cuda.synchronize()
                        row["note"] = _joined(note, _failed(failure))
            prepared, calls = [], []
            gc.collect()
        del sets, problem, right
        _judge(rows)
        return rows

    def _obstacle(self, provider: Provider, case: Case) -> str | None:
        if provider is COMPILED and self.quick and self.device.type == "cpu":
            return "a quick run on a CPU compiles nothing"
        return provider.obstacle(case, self.device)

    def _copies(self, problem: Problem, most: int) -> int:
        return timers.copies_for_cold_cache(problem.nbytes, self.device, most)

    def _row(
        self, case: Case, provider: Provider, launch: str, wrong: float | None, note: str, *, possible: bool
    ) -> Row:
        roofs, needed = hardware.of(self.device), work(case)
        t_null = self._null(launch)
        least = floor(case, roofs, t_null)
        own = roof(case, provider.passes(case), roofs, t_null) if possible and self.device.type == "cuda" else None
        return {
            "kernel": case.kernel,
            "provider": provider.name,
            **{name: value for name, value in case.asdict().items() if name != "kernel"},
            "launch": launch,
            **dict.fromkeys(("p20_us", "p50_us", "p80_us")),
            "bytes": needed.bytes,
            "flops": needed.flops,
            "floor_us": least.us,
            "floor_terms": least.terms,
            "percent_of_floor": None,
            "roof_us": own,
            "ceiling": None if own is None or not least.us else own / least.us,
            "max_error": None if wrong is None or wrong == float("inf") else wrong,
            "launches": None,
            "versus": None,
            "note": _joined(note, "the result is not finite" if wrong == float("inf") else ""),
        }

    def _time(self, row: Row, timing: timers.Timing) -> None:
        row.update(p20_us=timing.p20, p50_us=timing.p50, p80_us=timing.p80)
        if self.device.type == "cuda" and row["floor_us"] is not None:  # an H200's floor says nothing about a CPU
            row["percent_of_floor"] = 100 * row["floor_us"] / timing.p50

    def _null(self, launch: str) -> float | None:
        if self.device.type != "cuda":
            return None
        if launch not in self._nulls:
            self._nulls[launch] = timers.null(launch)
        return self._nulls[launch]


def refuse_interpreter(device: torch.device) -> None:
    """Raises ValueError where Triton's interpreter would be what is timed."""
    if dispatch.interpreting() and (device.type == "cuda" or dispatch.mode() == "triton"):
        raise ValueError("bench: got TRITON_INTERPRET=1, expected it unset: the interpreter checks, it is not timed")


def call(case: Case, problem: Problem, prepared: Prepared) -> Callable[[], object]:
    """The part of a case that is timed."""
    leaves, dy = list(prepared.leaves), problem.dy
    if case.mode == "fwd":

        def forward() -> Tensor:
            with torch.no_grad():
                return prepared.call()

        return forward
    if case.mode == "full":
        return lambda: torch.autograd.grad(prepared.call(), leaves, dy)
    y = prepared.call()
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def _judge(rows: list[Row]) -> None:
    """Tell of ours how it does against the fastest peer in the same mode, and what ceiling that peer's way has."""
    for row in rows:
        if row["provider"] != OURS.name or row["p50_us"] is None:
            continue
        peers = [peer for peer in rows if peer["provider"] != OURS.name and peer["launch"] == row["launch"]]
        peers = [peer for peer in peers if peer["p50_us"] is not None]
        if not peers:
            continue
        best = min(peers, key=lambda peer: float(peer["p50_us"]))
        row["versus"] = {"provider": best["provider"], "ratio": best["p50_us"] / row["p50_us"]}
        row["ceiling"] = best["ceiling"]
        if best["p50_us"] < row["p50_us"]:
            row["note"] = _joined(row["note"], NO_WIN)


def _failed(failure: Exception) -> str:
    first = (str(failure).strip().splitlines() or [""])[0]
    return f"failed: {type(failure).__name__}: {first}"[:300]


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)

"""Retention measured: fine-tune models, merge them by every method, score what each gets back."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.retention.tasks import ADDED, MERGED, TASKS

if TYPE_CHECKING:
    from benchmarks.retention.bench import Bench
    from benchmarks.retention.results import Results
    from benchmarks.retention.tasks import Part

RUNS = Path("runs/retention")
SCORES, FORGETTING = "scores.jsonl", "forgetting.jsonl"


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    from benchmarks.retention.training import Recipe
    from benchmarks.retention.variants import VARIANTS

    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention", description=__doc__)
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"where all is kept (default: {RUNS})")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    verb = verbs.add_parser("prepare", help="write the base and embed the tasks' samples, once for all seeds")
    verb.set_defaults(run=_prepare)
    verb.add_argument("--language-model", default="smollm2-135m", help="the base: an asset or a folder")
    verb.add_argument("--task", choices=TASKS, nargs="+", default=[*MERGED, ADDED])

    verb = verbs.add_parser("train", help="fine-tune the base on tasks")
    verb.set_defaults(run=_train)
    verb.add_argument("--seed", type=int, required=True)
    verb.add_argument("--task", choices=TASKS, nargs="+", default=[*MERGED, ADDED])
    verb.add_argument("--aligning", type=int, default=Recipe.aligning, help="steps of the projector alone")
    verb.add_argument("--tuning", type=int, default=Recipe.tuning, help="steps of language model and projector")
    verb.add_argument("--lr", type=float, default=Recipe.tune_lr, help="peak learning rate of --tuning")

    verb = verbs.add_parser("measure", help="merge a seed's models by every method and score them")
    verb.set_defaults(run=_measure)
    _add_measuring(verb, MERGED)
    verb.add_argument("--method", choices=VARIANTS, nargs="+", default=list(VARIANTS))

    verb = verbs.add_parser("forget", help="add a task to the optimal merge of a seed; what the others lose")
    verb.set_defaults(run=_forget)
    _add_measuring(verb, MERGED)
    verb.add_argument("--added", choices=TASKS, default=ADDED)

    verb = verbs.add_parser("table", help="the results of all seeds as markdown")
    verb.set_defaults(run=_table)
    verb.add_argument("--out", type=Path, help="write the records, too, as JSON")
    options = parser.parse_args(arguments)
    options.run(options)


def _add_measuring(verb: argparse.ArgumentParser, tasks: tuple[str, ...]) -> None:
    verb.add_argument("--seed", type=int, required=True)
    verb.add_argument("--task", choices=TASKS, nargs="+", default=list(tasks), help="the models that are merged")
    verb.add_argument("--choose", type=int, default=96, help="examples of a task to choose constants on")
    verb.add_argument("--test", type=int, default=512, help="examples of a task to score")


def _prepare(options: argparse.Namespace) -> None:
    from benchmarks.retention.tasks import load_task
    from benchmarks.retention.training import write_base

    write_base(options.runs / "base", options.language_model)
    for task in options.task:
        parts = load_task(task, options.runs / "embeddings")
        print(f"{task}: {', '.join(f'{len(own):,} to {part}' for part, own in parts.items())}", flush=True)


def _train(options: argparse.Namespace) -> None:
    from benchmarks.retention.tasks import load_task
    from benchmarks.retention.training import Recipe, fine_tune
    from semi.artifacts.manifest import MANIFEST

    recipe = Recipe(aligning=options.aligning, tuning=options.tuning, tune_lr=options.lr)
    for task in options.task:
        out = options.runs / str(options.seed) / task
        if (out / MANIFEST).is_file():
            print(f"{out} is complete already")
            continue
        begun = time.monotonic()

        def advance(step: int, note: str, task: str = task, begun: float = begun) -> None:
            if step % 10 == 0:
                print(f"{task}: step {step}, {note}, {time.monotonic() - begun:.0f} s", flush=True)

        examples = load_task(task, options.runs / "embeddings")["train"]
        losses = fine_tune(
            options.runs / "base", examples, out, task=task, seed=options.seed, recipe=recipe, advance=advance
        )
        print(f"{out}: {losses}", flush=True)


def _measure(options: argparse.Namespace) -> None:
    from benchmarks.retention.measuring import measure_alone, measure_merge
    from benchmarks.retention.variants import VARIANTS

    bench, results = _open(options, options.task, SCORES)
    with bench:
        measure_alone(bench, results)
        for name in options.method:
            folder = options.runs / str(options.seed) / "merges" / f"{name.replace(', ', '-').replace(' ', '-')}.mmer"
            measure_merge(bench, results, name, VARIANTS[name], folder)


def _forget(options: argparse.Namespace) -> None:
    from benchmarks.retention.forgetting import measure_forgetting

    bench, results = _open(options, [*options.task, options.added], FORGETTING)
    with bench:
        measure_forgetting(bench, results, options.task, options.added, options.runs / str(options.seed) / "merges")


def _open(options: argparse.Namespace, tasks: list[str], file: str) -> tuple[Bench, Results]:
    """The models of a seed, their data, and the results so far."""
    from benchmarks.retention.bench import Bench
    from benchmarks.retention.models import COMPUTE
    from benchmarks.retention.results import Results
    from benchmarks.retention.tasks import load_task

    folder = options.runs / str(options.seed)
    limits: dict[Part, int] = {"choose": options.choose, "test": options.test}
    about = {"seed": options.seed, "tasks": tasks, "limits": limits, "computed_in": str(COMPUTE).removeprefix("torch.")}
    results = Results(folder / file, about, say=_say())
    data = {task: load_task(task, options.runs / "embeddings", limits) for task in tasks}
    return Bench(options.runs / "base", {task: folder / task for task in tasks}, data), results


def _say() -> Callable[[str], None]:
    begun = time.monotonic()
    return lambda text: print(f"{time.monotonic() - begun:6.0f} s  {text}", flush=True)


def _table(options: argparse.Namespace) -> None:
    from benchmarks.retention.results import Results
    from benchmarks.retention.table import report
    from semi.artifacts import write_json

    found = {
        file: [Results.read(path) for path in sorted(options.runs.glob(f"*/{file}"))] for file in (SCORES, FORGETTING)
    }
    print(report(found[SCORES], found[FORGETTING]))
    if options.out is not None:
        write_json(options.out, found)


if __name__ == "__main__":
    main()

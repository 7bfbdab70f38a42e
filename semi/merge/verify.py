"""Whether a merge is what it says: its files, its base, its numbers, and, with the models at hand, its certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from semi.artifacts import sha256_of
from semi.errors import ArtifactError
from semi.merge.artifact import FILES, Artifact
from semi.merge.checkpoint import Checkpoint, first_ten
from semi.merge.config import MergeConfig
from semi.merge.description import ROWS
from semi.merge.divergence import Divergence, divergences
from semi.merge.fidelity import Fidelity
from semi.merge.header import FLOATS
from semi.merge.inputs import Inputs, open_inputs
from semi.merge.inventory import BLOCK, Inventory, blocks_of, take_inventory
from semi.merge.origin import base_folder, configuration, differing_files, open_base
from semi.merge.restore import deltas

TOLERANCE = 1e-6
"""Between figures of a certificate, relative to 1 or the figure: versions of torch round sums differently."""

State = Literal["passed", "failed", "skipped"]
Advance = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: its name, how it went, and what was found."""

    name: str
    state: State
    found: str


@dataclass
class Verification:
    """What `verify` found.

    Attributes:
        checks: in the order in which they were made.
        certificate: figures that the merge was stored with (`Fidelity.report`).
        again: the same, computed from the models; None without them.
        divergence: of each model that was asked for text, by name.
    """

    checks: list[Check] = field(default_factory=list)
    certificate: Mapping[str, Any] = field(default_factory=dict)
    again: Mapping[str, Any] | None = None
    divergence: dict[str, Divergence] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        """Nothing failed."""
        return all(check.state != "failed" for check in self.checks)


def verify(
    artifact: Artifact,
    *,
    base: str | Path | None = None,
    models: bool = False,
    prompts: Sequence[str] = (),
    advance: Advance = lambda done, total, what: None,
) -> Verification:
    """Check a merge.

    Always: sha256 of its files, and if they are right NaN and Inf, and the residuals of its certificate against
    `verify.max_residual`. Where the base is found: its sha256, and that the two have the same tensors.

    Args:
        artifact: the merge.
        base: the base's folder; None: where the merge found it, and no fault if it is not there.
        models: read the models that were merged once more: their sha256, each of their keys accounted for, the
            certificate computed again, exact and kept tensors equal byte for byte.
        prompts: texts on which each restored language model is compared with its original; needs the models.
        advance: told how much is done, how much there is, and what is being done.

    Raises:
        ArtifactError: the base or the models are asked for, and cannot be found or opened.
    """
    found = Verification(certificate=artifact.manifest["info"]["certificate"])
    config = configuration(artifact)
    found.checks.append(_files(artifact, advance))
    if not found.fine:
        return found  # nothing else that is read can be trusted
    found.checks.append(_finite(artifact, advance))
    found.checks.append(_residuals(artifact, found.certificate, config))
    of_base = list(_base(artifact, base))
    found.checks += of_base
    if models or prompts:
        folder = base_folder(artifact, base)
        with open_inputs(config.model_copy(update={"base_model": str(folder)})) as inputs:
            inventory = take_inventory(inputs.base, inputs.models, config)
            same = [_same_models(artifact, inputs), _same_keys(artifact, inputs, inventory)]
            found.checks += same
            if any(check.state == "failed" for check in (*same, *of_base)):
                return found  # nothing can be compared with other models
            found.checks.append(_copies(artifact, inputs, inventory))
            found.again = _fidelity(artifact, inventory, advance).report()
            found.checks.append(_same_figures(artifact, found.certificate, found.again))
            if prompts:
                found.divergence = divergences(artifact, inventory, folder, prompts, advance)
    return found


def _check(name: str, problems: Sequence[str], fine: str) -> Check:
    return Check(name, "failed" if problems else "passed", first_ten(problems) or fine)


def _files(artifact: Artifact, advance: Advance) -> Check:
    problems: list[str] = []
    files = artifact.manifest["files"]
    for done, (name, entry) in enumerate(files.items()):
        advance(done, len(files), "Hashing")
        problems += differing_files(artifact.folder, {name: entry["sha256"]})
    return _check("files", problems, f"sha256 of {len(files)} files")


def _finite(artifact: Artifact, advance: Advance) -> Check:
    """NaN or Inf in vectors, scales, residuals and exact tensors."""
    problems = []
    merged = list(artifact.of("merged", "rows"))
    for done, entry in enumerate(merged):
        advance(done, len(merged), "Looking for NaN and Inf")
        bad = sum(int((~shared.isfinite()).sum()) for _, shared in artifact.shared(entry.key))
        scales = {name: artifact.scales(name, entry.key) for name in artifact.models}
        problems += [f"{entry.key}: {bad} entries of the shared vector"] if bad else []
        problems += [
            f"{entry.key}: scales of {n}" for n, s in scales.items() if s is not None and not s.isfinite().all()
        ]
        problems += [
            f"{entry.key}: residual of {name}"
            for name in entry.residuals
            if not all(part.isfinite().all() for _, part in artifact.residual(name, entry.key) or ())
        ]
    for name in artifact.models:
        exact = artifact.exact(name)
        problems += [f"{key} of {name}" for key in exact.keys if not _is_finite(exact, key)]
    return _check("finite", problems, "no NaN or Inf in vectors, scales, residuals and exact tensors")


def _is_finite(tensors: Checkpoint, key: str) -> bool:
    """Block by block; what holds no floats is finite."""
    info = tensors.info(key)
    blocks = blocks_of(key, (info.rows, info.columns), BLOCK) if info.dtype in FLOATS else ()
    return all(bool(tensors.read(key, block.start, block.stop).isfinite().all()) for block in blocks)


def high_residuals(certificate: Mapping[str, Any], config: MergeConfig) -> list[str]:
    """The models of which more is lost than `verify.max_residual`, in words; none where the method has no masks.

    Args:
        certificate: figures of `Fidelity.report`.
        config: of the merge.
    """
    found = {name: figures["residual"] for name, figures in certificate["models"].items() if config.rule != "none"}
    most = config.verify.max_residual
    return [f"{name}: {value:.3f}" for name, value in found.items() if value is not None and value > most]


def beyond_base(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The models that come back further from themselves than the base is, whatever the method, in words.

    Args:
        models: figures of each, as `Fidelity.report` has them.
    """
    found = {name: figures["residual"] for name, figures in models.items()}
    return [f"{name}: {value:,.3f}" for name, value in found.items() if value is not None and value > 1]


def _residuals(artifact: Artifact, certificate: Mapping[str, Any], config: MergeConfig) -> Check:
    if artifact.rule == "none":
        return Check("residual", "skipped", f"{artifact.method} gives no model its own parameters back")
    fine = f"at most {config.verify.max_residual:g} of each model's change is lost"
    return _check("residual", high_residuals(certificate, config), fine)


def _base(artifact: Artifact, base: str | Path | None) -> Iterator[Check]:
    try:
        folder = base_folder(artifact, base)
    except ArtifactError as error:
        if base is not None:
            raise
        yield Check("base", "skipped", f"{error.what} ({error.got}); --base PATH names it")
        return
    yield _check("base", differing_files(folder, artifact.base.files), f"sha256 of {len(artifact.base.files)} files")
    try:
        open_base(artifact, folder, hashes=False).close()
    except ArtifactError as error:
        yield Check("keys", "failed", str(error.got or error.what))
    else:
        yield Check("keys", "passed", f"all {len(artifact.entries)} tensors of the base")


def _same_models(artifact: Artifact, inputs: Inputs) -> Check:
    problems: list[str] = []
    for name, model in artifact.models.items():
        start = f"models.{name}/"
        folder = next(path.parent for place, path in inputs.files.items() if place.startswith(start))
        problems += [f"{name}: {problem}" for problem in differing_files(folder, model.files)]
    return _check("models", problems, f"sha256 of the files of {len(artifact.models)} models")


def _same_keys(artifact: Artifact, inputs: Inputs, inventory: Inventory) -> Check:
    """Every key of every model is merged, exact or kept, and so it is in the artifact."""
    problems = []
    for key in sorted({*inventory.entries} ^ {*artifact.entries}):
        problems.append(f"{key} is in {'the models' if key in inventory.entries else 'the merge'} only")
    for key, entry in inventory.entries.items():
        # Whether there are further rows is not the tensor's matter but each model's: they come and go with it.
        if key in artifact.entries and (artifact.entries[key].kind == "exact") != (entry.kind == "exact"):
            problems.append(f"{key} is {artifact.entries[key].kind}, and should be {entry.kind}")
    for name, model in inventory.models.items():
        kept = {model.info(key).stored for key in inventory.kept[name]}
        problems += [f"{key} of {name} is not kept" for key in sorted(kept - set(artifact.kept(name).keys))]
        exact = {key for key, _ in _exact_names(inventory, name)} | set(_with_further_rows(inventory, name))
        problems += [f"{key} of {name} is missing" for key in sorted(exact - set(artifact.exact(name).keys))]
        beside = set(artifact.beside(name))
        problems += [f"{file} of {name} is missing" for file in sorted(inputs.beside[name].keys() - beside)]
    total = sum(len(model.keys) for model in inventory.models.values())
    total += sum(count for own in inputs.beside.values() for count in own.values())
    return _check("models' keys", problems, f"all {total} tensors of the models are merged, exact or kept")


def _exact_names(inventory: Inventory, name: str) -> Iterator[tuple[str, str]]:
    """Exact tensors that a model stores: the base's key, the model's key."""
    for entry in inventory.of("exact"):
        if name in entry.names:
            yield entry.key, entry.names[name]


def _with_further_rows(inventory: Inventory, name: str) -> Iterator[str]:
    """Tensors of which a model has more rows than the base."""
    for entry in inventory.of("rows"):
        if name in entry.names and inventory.models[name].info(entry.names[name]).shape[0] > (
            inventory.base.info(entry.key).rows
        ):
            yield entry.key + ROWS


def _copies(artifact: Artifact, inputs: Inputs, inventory: Inventory) -> Check:
    """Kept and exact tensors are the models' bytes, and so are files of encoders and connectors."""
    problems, count = [], 0
    for name, model in inventory.models.items():
        pairs = [(artifact.kept(name), model.info(key).stored, key) for key in inventory.kept[name]]
        if isinstance(model, Checkpoint):
            pairs += [(artifact.exact(name), key, own) for key, own in _exact_names(inventory, name)]
        for ours, key, own in pairs:
            count += 1
            if ours.info(key).nbytes != model.info(own).nbytes or not _equal(ours.raw(key), model.raw(own)):
                problems.append(f"{key} of {name} differs")
        for file, tensors in inputs.beside[name].items():
            count += tensors
            stored = artifact.manifest["files"][f"{FILES}/{name}/{file}"]["sha256"]
            problems += [f"{file} of {name} differs"] if sha256_of(inputs.copied[name][file]) != stored else []
    return _check("copies", problems, f"{count} exact and kept tensors are equal byte for byte")


def _equal(one: Iterator[bytes], other: Iterator[bytes]) -> bool:
    return all(a == b for a, b in zip(one, other, strict=True))


def _fidelity(artifact: Artifact, inventory: Inventory, advance: Advance) -> Fidelity:
    fidelity, workspace = Fidelity(list(artifact.models), artifact.merged), inventory.workspace()
    merged = list(artifact.of("merged", "rows"))
    for done, entry in enumerate(merged):
        advance(done, len(merged), "Computing the certificate")
        for block, given in deltas(artifact, entry.key):
            fidelity.compare(inventory.deltas(block, workspace), given)
    return fidelity


def _same_figures(artifact: Artifact, stored: Mapping[str, Any], again: Mapping[str, Any]) -> Check:
    # Conflicts of sign are counted among all that were merged together, of whom some may be gone.
    gone = {"sign_conflict"} if artifact.removed else set()
    one, other = ({n: v for n, v in leaves(figures) if n not in gone} for figures in (stored, again))
    problems = [
        f"{name}: {one.get(name)} stored, {other.get(name)} now"
        for name in chain(one, (name for name in other if name not in one))
        if not _close(one.get(name), other.get(name))
    ]
    return _check("certificate", problems, f"{len(one)} figures, computed again")


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What nested mappings hold, by names with dots between."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= TOLERANCE * max(1.0, abs(one))
    return bool(one == other)

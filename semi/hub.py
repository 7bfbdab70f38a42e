"""Integrations and foundations on the Hugging Face hub: one commit of safetensors, JSON and a model card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

from semi.artifacts import read_json, read_manifest
from semi.artifacts.hub import find_folder, first_line, is_repository
from semi.artifacts.manifest import MANIFEST
from semi.errors import ArtifactError, InputError, SemiError
from semi.model_card import LIBRARY, model_card
from semi.plugins import load_foundation

KINDS = ("integration", "foundation")
CARD = "README.md"
_FETCHED = ("*.safetensors", "*.json", "*.jsonl", "*.png")


def find_foundation(name: str | Path) -> Path:
    """Where the files of a foundation lie: a folder, a registered one's, or the hub's cache for OWNER/NAME.

    Raises:
        PluginError: no plugin registers that name, and it is neither a folder nor OWNER/NAME.
        ArtifactError: the hub has none of that name.
    """
    if Path(name).is_dir() or "/" in str(name):
        return find_folder(name, _FETCHED)
    return load_foundation(str(name)).folder


class OnHub:
    """What an integration and a foundation do with the hub, beside `save` and `load`."""

    save: Callable[..., None]
    load: ClassVar[Callable[..., Any]]

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload it in one commit with a model card, and return the commit's address.

        Args:
            repo_id: "OWNER/NAME"; made where it does not exist.
            options: license, private, token, revision, create_pr, commit_message; see `push_folder`, also for errors.
        """
        with TemporaryDirectory() as place:
            self.save(Path(place) / "saved")
            return push_folder(Path(place) / "saved", repo_id, **options)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> Self:
        """What lies in a folder, or on the hub as OWNER/NAME or OWNER/NAME@REVISION.

        Args:
            options: of `load`.

        Raises:
            ArtifactError: it is neither a folder nor can be had from the hub or its cache; or as of `load`.
        """
        folder = find_folder(
            name,
            _FETCHED,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            library_name=LIBRARY,
        )
        found: Self = cls.load(folder, **options)
        return found


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    license: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    commit_message: str | None = None,
) -> str:
    """Upload a saved integration or foundation in one commit, with a model card.

    Only files that the manifest names are uploaded, and README.md: the folder's own where it has one, else one that is
    written from the record. No language model is loaded.

    Args:
        folder: what `save` wrote.
        repo_id: "OWNER/NAME"; made where it does not exist.
        license: of the weights, by the hub's identifier, for the card, e.g. "apache-2.0".
        private: whether a repository that is made is private; None: as the owner's default is.
        token: of the hub; None: the one that is logged in, or HF_TOKEN.
        revision: a branch, made where it does not exist; None: main.
        create_pr: propose the commit instead of making it.
        commit_message: None: says what it is.

    Returns:
        The commit's address.

    Raises:
        ArtifactError: the folder is incomplete or damaged, or no integration or foundation.
        InputError: the id is not OWNER/NAME.
        SemiError: the hub refused, or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    folder = Path(folder)
    card, manifest = _read(folder, repo_id, license)
    added = [CommitOperationAdd(name, str(folder / name)) for name in (*manifest["files"], MANIFEST)]
    added.append(CommitOperationAdd(CARD, card.encode()))
    api = HfApi(token=token, library_name=LIBRARY)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        commit = api.create_commit(
            repo_id,
            operations=added,
            commit_message=commit_message or f"{manifest['kind'].capitalize()} of {LIBRARY}",
            revision=revision,
            create_pr=create_pr,
        )
    except Exception as error:  # the hub's client raises whatever the network led it into
        raise SemiError(
            f"{folder} could not be pushed to {repo_id}",
            got=first_line(error),
            do="check the name and the network; `hf auth login` or HF_TOKEN says who you are",
        ) from error
    return str(commit.pr_url or commit.commit_url)


def card_of(folder: str | Path, repo_id: str, *, license: str | None = None) -> str:
    """The model card that `push_folder` uploads: README.md of the folder, or one that is written from the record.

    Raises:
        ArtifactError, InputError: as of `push_folder`.
    """
    card, _ = _read(Path(folder), repo_id, license)
    return card


def _read(folder: Path, repo_id: str, license: str | None) -> tuple[str, dict[str, Any]]:
    """The model card, and the manifest, which is checked on the way."""
    if not is_repository(repo_id):
        raise InputError("not the name of a repository", got=repo_id, expected="OWNER/NAME")
    manifest = read_manifest(folder, _kind(folder))
    own = folder / CARD
    card = own.read_text("utf-8") if own.is_file() else model_card(folder, manifest, repo_id, license=license)
    return card, manifest


def _kind(folder: Path) -> str:
    manifest = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else None
    kind = manifest.get("kind") if isinstance(manifest, dict) else None
    if manifest is not None and kind not in KINDS:
        raise ArtifactError(f"{folder} cannot be pushed", got=kind, expected=" or ".join(KINDS))
    return kind or KINDS[0]

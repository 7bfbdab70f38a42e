"""What is refused before anything of weight is imported: folders, and places to listen at."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from pathlib import Path

from semi.artifacts import read_json, read_manifest, rebuilding
from semi.errors import InputError


def require_integrations(folders: Sequence[Path]) -> None:
    """Refuse folders that are, by their files, no integrations of different modalities; weights are checked later.

    Raises:
        InputError: two of one modality.
        ArtifactError: a folder is missing, incomplete, or holds something else.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        read_manifest(folder, "integration", hashes=False)
        with rebuilding(folder / "integration.json", "integration"):
            modality = str(read_json(folder / "integration.json")["modality"])
        if modality in found:
            raise InputError(
                f"two folders are of the modality {modality}",
                got=f"{found[modality]}, {folder}",
                expected="one folder a modality",
                do="leave one out, or serve it at another port",
            )
        found[modality] = folder


def listen(host: str, port: int, keys: Sequence[str]) -> socket.socket:
    """A socket that listens there.

    Args:
        port: 0: any that is free.

    Raises:
        InputError: others than this machine could reach it and there is no key, or the place is taken or none.
    """
    if not keys and not _loopback(host):
        raise InputError(
            "without a key only this machine is served",
            got=f"--host {host}",
            expected="127.0.0.1, ::1 or localhost",
            do="set a key: the environment variable SEMI_API_KEY, or --key",
        )
    if any(not key.strip() or key != key.strip() or not key.isascii() for key in keys):
        raise InputError("a key is empty or cannot be sent", expected="ASCII without white space around it")
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # who comes while models are loaded waits
    except (OSError, OverflowError) as error:
        listening.close()
        do = "choose another with --host and --port; --port 0 takes any that is free"
        raise InputError(f"cannot listen on {host}, port {port}", got=error, do=do) from error
    return listening


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

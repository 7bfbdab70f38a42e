"""Files on disk: tensors, JSON, manifests, output folders and checkpoints.

Safetensors and JSON only. Everything is written under a temporary name and renamed, so a file is either whole or
absent; a folder's manifest is written last, so a folder is either complete or refused. The same content gives the same
bytes.
"""

from semi.artifacts.checkpoint import Checkpoint
from semi.artifacts.files import config_hash, read_json, sha256_of, write_bytes, write_json
from semi.artifacts.manifest import FORMAT_VERSION, read_manifest, write_manifest
from semi.artifacts.output import OutputFolder, open_output, require_free
from semi.artifacts.rebuilding import load_module, rebuilding, require_same
from semi.artifacts.tensors import load_tensors, read_metadata, save_tensors

__all__ = [
    "FORMAT_VERSION",
    "Checkpoint",
    "OutputFolder",
    "config_hash",
    "load_module",
    "load_tensors",
    "open_output",
    "read_json",
    "read_manifest",
    "read_metadata",
    "rebuilding",
    "require_free",
    "require_same",
    "save_tensors",
    "sha256_of",
    "write_bytes",
    "write_json",
    "write_manifest",
]

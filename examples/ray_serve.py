"""`semi serve` on a Ray cluster: each modality's encoder in a deployment of its own, scaled as it is asked for.

    python ray_serve.py my-imu my-image    # on this machine, at http://127.0.0.1:8000/v1, until Ctrl-C

Encoders are what costs time besides writing: Ray starts more replicas of those that are busy. Projector and language
model are in the front; for more text than it can write, give its engine the backend `semi.serve.vllm.VLLM`. Folders
have to be on every machine. Keys are those of SEMI_API_KEY. Needs `pip install 'semi-llm[serve]' 'ray[serve]'`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ray import serve

from semi.encoding import embed
from semi.integration import read_parts
from semi.serve.app import create_app
from semi.serve.engine import Engine
from semi.serve.limits import Limits
from semi.serve.metrics import Metrics
from semi.streams.loading import load_integrations

SCALE = {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 2}


@serve.deployment(autoscaling_config=SCALE, ray_actor_options={"num_cpus": 0.5})
class Encoding:
    """One encoder."""

    def __init__(self, folder: str) -> None:
        self.encoder = read_parts(folder).encoder

    def __call__(self, sample: Any) -> np.ndarray:
        """The embedding of a parsed sample, or of a file that was packed."""
        with TemporaryDirectory() as folder:
            return embed(self.encoder, [unpacked(sample, Path(folder))])[0]


class Elsewhere:
    """An encoder whose work is done by a deployment."""

    def __init__(self, encoder: Any, handle: Any) -> None:
        self.id, self.width, self.handle = encoder.id, encoder.width, handle

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """All at once: Ray gives them to the replicas."""
        asked = [self.handle.remote(packed(sample)) for sample in samples]
        return np.stack([each.result() for each in asked])


def packed(sample: Any) -> Any:
    """A file as its bytes: another machine does not have it."""
    return {"suffix": sample.suffix, "content": sample.read_bytes()} if isinstance(sample, Path) else sample


def unpacked(sample: Any, folder: Path) -> Any:
    """What `packed` made, as a file again."""
    if not isinstance(sample, dict) or set(sample) != {"suffix", "content"}:
        return sample
    path = folder / f"sample{sample['suffix']}"
    path.write_bytes(sample["content"])
    return path


def application(folders: Sequence[str]) -> Any:
    """A front, and a deployment for each folder."""
    names = {folder: f"encoding-{number}" for number, folder in enumerate(folders)}

    def build() -> Any:
        """In the replica of the front."""
        integrations = load_integrations(folders)
        for folder, integration in zip(folders, integrations.values(), strict=True):
            handle = serve.get_deployment_handle(names[folder], app_name="semi")
            integration.encoder = Elsewhere(integration.encoder, handle)
        metrics = Metrics()
        engine = Engine(integrations, Limits(), metrics)
        return create_app(engine, metrics, os.environ.get("SEMI_API_KEY", "").split())

    front = serve.deployment(serve.ingress(build)(), name="front")
    return front.bind(*[Encoding.options(name=names[folder]).bind(folder) for folder in folders])


def main() -> None:
    if not sys.argv[1:]:
        raise SystemExit("which folders? python ray_serve.py DIR...")
    serve.run(application([str(Path(folder).resolve()) for folder in sys.argv[1:]]), name="semi", blocking=True)


if __name__ == "__main__":
    main()

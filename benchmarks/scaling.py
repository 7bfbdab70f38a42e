"""A model on paper of how training scales: bytes a process sends in a step, and the share of its time that it computes.

    python benchmarks/scaling.py

Sizes are of real networks. Speeds are assumptions, all of them in `Assumptions`: nothing here has been measured.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

FLOAT32, BFLOAT16 = 4, 2


@dataclass(frozen=True)
class Assumptions:
    """Of a machine with eight GPUs and a network card for each, and of how well they are used."""

    flops: float = 0.4 * 989e12
    """A second of one GPU: 40 % of an H100's peak in bf16, which a model of 135 million weights will not reach."""
    inside: float = 300e9
    """Bytes a second that one GPU sends to another of its machine (two thirds of NVLink's 450 GB/s)."""
    outside: float = 40e9
    """Between machines (four fifths of a 400 Gb/s card)."""
    delay: float = 5e-6
    """Seconds a message takes beside its bytes."""
    per_machine: int = 8
    tokens: int = 8192
    """Of a process's share of a micro-batch."""

    def seconds(self, sent: float, messages: int, processes: int) -> float:
        """To send so many bytes around a ring of all processes; its slowest link sets the pace."""
        return sent / (self.inside if processes <= self.per_machine else self.outside) + messages * self.delay


@dataclass(frozen=True)
class Training:
    """What is trained under which language model.

    Attributes:
        weights: of the language model.
        layers: how many of them are in its layers, which FSDP2 shards (in bf16), and how many layers; None: DDP.
        trained: numbers with a gradient, in fp32.
    """

    name: str
    weights: float
    trained: float
    layers: tuple[float, int] | None = None


def reduced(size: float, processes: int) -> float:
    """Bytes a process sends while a ring adds up `size` bytes of all processes on each of them."""
    return 2 * size * (processes - 1) / processes


def gathered(size: float, processes: int) -> float:
    """Bytes a process sends while a ring brings `size` bytes, of which each has a part, to all of them."""
    return size * (processes - 1) / processes


def bytes_a_step(training: Training, processes: int, accumulate: int = 1) -> tuple[float, float]:
    """Bytes a process sends: for gradients, once a step; for weights, before each layer's forward and backward."""
    weights = 2 * accumulate * gathered(BFLOAT16 * training.layers[0], processes) if training.layers else 0.0
    return reduced(FLOAT32 * training.trained, processes), weights


def efficiency(training: Training, processes: int, assumed: Assumptions) -> float:
    """Share of a step of one micro-batch that computes, every process having as many tokens whatever their number.

    Gathering the next layer hides behind computing this one; adding up gradients hides behind nothing.
    """
    # Forward, and backward to the soft tokens: the weights are frozen and get no gradient.
    computing = 4 * training.weights * assumed.tokens / assumed.flops
    gradients, weights = bytes_a_step(training, processes)
    gathering = 0.0
    if training.layers:
        gathering = assumed.seconds(weights, 2 * training.layers[1] * (processes - 1), processes)
    adding = assumed.seconds(gradients, 2 * (processes - 1), processes)
    return computing / (max(computing, gathering) + adding)


def mlp(d_in: int, d_hidden: int, d_out: int) -> int:
    """Numbers of a projector."""
    return (d_in + 1) * d_hidden + (d_hidden + 1) * d_out


TRAININGS = (
    Training("projector of `smollm2-135m`, DDP", 134.5e6, mlp(960, 1536, 8 * 576)),
    Training("attention hypernetwork on it, DDP", 134.5e6, 72e6),
    Training("projector, 8 billion weights, DDP", 8.0e9, mlp(768, 4096, 4096)),
    Training("projector, 70 billion weights, FSDP2", 70.6e9, mlp(768, 8192, 8192), (68.5e9, 80)),
)


def table(assumed: Assumptions) -> str:
    """In Markdown."""
    rows = ["| | sent a step, 8 processes | 64 processes | efficiency at 8 | at 64 |", "|---|---|---|---|---|"]
    for training in TRAININGS:
        sent = [f"{sum(bytes_a_step(training, n)) / 1e6:,.0f} MB" for n in (8, 64)]
        share = [f"{100 * efficiency(training, n, assumed):.0f} %" for n in (8, 64)]
        rows.append(f"| {training.name} | {' | '.join(sent + share)} |")
    return "\n".join(rows)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(table(Assumptions()))


if __name__ == "__main__":
    main()

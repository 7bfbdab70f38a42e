"""How `semi serve` bears clients: 1, 8 and 32 at once, every answer compared with the one computed alone.

    python -m benchmarks.serve_load DIR --out serve-load.json    # 5 minutes each, on an idle machine
    python -m benchmarks.serve_load DIR --quick                  # seconds, to see that it works

DIR is what `semi adapt` wrote for a modality whose `examples` are text or numbers: molecules, vectors. The server is a
process of its own; this one sends the examples, a connection a client, and reads the server's memory from its metrics.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from benchmarks.processes import machine
from semi.integration import Integration

CLIENTS = (1, 8, 32)
TOKENS = 24
START_S = 300
MOMENTS = 10
"""At which the server's memory is looked at, beside the first."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each number of clients")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seconds = 5.0 if options.quick else options.minutes * 60
    integration = Integration.load(options.folder)
    samples = [each if isinstance(each, str) else list(each) for each in integration.modality.examples]
    alone = [integration.describe([sample], max_new_tokens=TOKENS)[0] for sample in samples]
    bodies = [_body(integration.record.modality, sample) for sample in samples]
    del integration  # the server has its own
    with _server(options.folder) as url:
        rows = [_load(url, clients, seconds, bodies, alone) for clients in CLIENTS]
    found = {"machine": machine(), "seconds": seconds, "rows": rows}
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


def _body(modality: str, sample: Any) -> dict[str, Any]:
    data = {"text": sample} if isinstance(sample, str) else {"values": sample}
    part = {"type": "modality", "modality": modality, "data": data}
    return {"model": modality, "messages": [{"role": "user", "content": [part]}], "max_tokens": TOKENS}


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "semi.cli", "serve", str(folder), "--port", "0", "--limit", "per_minute=1000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            told = process.stderr.readline() if process.stderr else ""
            found = re.search(r"http://\S+?(?=/v1)", told)
            if found is None:
                raise SystemExit(f"no server: {told}")
            yield found[0]
        finally:
            process.terminate()


def _load(url: str, clients: int, seconds: float, bodies: list[dict[str, Any]], alone: list[str]) -> dict[str, Any]:
    """One row of the table."""
    _ask(url, bodies[0])
    began = time.monotonic()
    with ThreadPoolExecutor(clients + 1) as pool:
        watched = pool.submit(_watch, url, began + seconds, seconds / MOMENTS)
        each = [pool.submit(_client, url, number, began + seconds, bodies, alone) for number in range(clients)]
        outcomes = [outcome for future in each for outcome in future.result()]
    took = time.monotonic() - began
    times = np.array([outcome[1] for outcome in outcomes])
    kinds = Counter(outcome[0] for outcome in outcomes)
    return {
        "clients": clients,
        "requests": len(outcomes),
        "per_second": round(len(outcomes) / took, 3),
        "p50_s": round(float(np.quantile(times, 0.5)), 4),
        "p99_s": round(float(np.quantile(times, 0.99)), 4),
        "same_as_alone": kinds["same"],
        "other_than_alone": kinds["other"],
        "mixed_up": kinds["mixed up"],
        "lost": kinds["lost"],
        "server_mb": watched.result(),
    }


def _watch(url: str, until: float, every: float) -> list[float]:
    """The server's memory in MB, from the beginning to the end."""
    found = [_memory(url)]
    while time.monotonic() + every / 2 < until:
        time.sleep(every)
        found.append(_memory(url))
    return [round(size / 1e6, 1) for size in found]


def _client(
    url: str, number: int, until: float, bodies: list[dict[str, Any]], alone: list[str]
) -> list[tuple[str, float]]:
    """Of each request what became of it, and its seconds."""
    found = []
    with httpx2.Client(timeout=300) as client:
        for i in range(number, sys.maxsize):
            if time.monotonic() >= until:
                return found
            place, began = i % len(bodies), time.monotonic()
            try:
                answer = client.post(f"{url}/v1/chat/completions", json=bodies[place]).raise_for_status().json()
                outcome = _compared(answer["choices"][0]["message"]["content"], place, alone)
            except httpx2.HTTPError:
                outcome = "lost"
            found.append((outcome, time.monotonic() - began))
    return found


def _compared(text: str, place: int, alone: list[str]) -> str:
    """In a batch sums are rounded in another order: where two tokens are almost as likely, a text may differ."""
    if text == alone[place]:
        return "same"
    return "mixed up" if text in alone else "other"


def _ask(url: str, body: dict[str, Any]) -> None:
    httpx2.post(f"{url}/v1/chat/completions", json=body, timeout=START_S).raise_for_status()


def _memory(url: str) -> float:
    """Bytes that the server has in memory."""
    text = httpx2.get(f"{url}/metrics", timeout=60).text
    found = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.M)
    return float(found[1]) if found else float("nan")


if __name__ == "__main__":
    main()

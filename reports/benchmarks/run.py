"""Times every metric against the peers' forms of it, or on an accelerator against one CPU thread.

python reports/benchmarks/run.py                  # about 8 minutes on two cores
python reports/benchmarks/run.py --device cuda    # cuda.csv, cuda.md, without the peers
python reports/benchmarks/run.py --memory

Each side of each comparison is a process of its own: the libraries of numpy and torch read their number of threads when
they start, and in one process the threads of one wait for the other's. A call returns a number, for which the host
waits, so all that it launched has ended.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from cases import CASES, kernel

from dragon_rewards.compute.devices import find_device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cases import Case

HERE = Path(__file__).parent
ROUNDS = 7
SHORTEST = 0.02  # seconds: faster calls are repeated within a round
LONG = 5.0  # seconds: calls that take as long are timed once more only
CEILING = 2048  # rows of the matrices whose product gives the rate of the machine
KIB_PER_MIB = 1024
PROCESSES = 5  # of either side, for the memory that they hold
AGREEMENT = 1e-9  # relative difference of the values of an accelerator and of the CPU


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """Seconds and value of one call."""
    started = time.perf_counter()
    value = call()
    return time.perf_counter() - started, value


def median_time(call: Callable[[], float]) -> tuple[float, float]:
    """Median seconds and value, after a first call that starts threads and loads libraries."""
    call()
    first, value = timed(call)
    repeats = max(1, round(SHORTEST / first))
    rounds = 1 if first > LONG else ROUNDS
    return statistics.median(timed(lambda: _repeated(call, repeats))[0] / repeats for _ in range(rounds)), value


def _repeated(call: Callable[[], float], times: int) -> float:
    for _ in range(times - 1):
        call()
    return call()


def product_rate(device: str) -> float:
    """Floating-point operations per second of a large float64 matrix product: the ceiling of all that is timed."""
    matrix = torch.ones(CEILING, CEILING, dtype=torch.float64, device=device)
    return 2 * CEILING**3 / min(timed(lambda: float((matrix @ matrix)[0, 0]))[0] for _ in range(4))


def side(number: int, peer: str, device: str) -> dict[str, Any]:
    """What one process finds: of the metric, or of a peer."""
    case = CASES[number](device)
    seconds, value = median_time(_call(case, peer))
    found = {"metric": case.name, "ms": 1000 * seconds, "value": value}
    if peer:
        return found
    against = [{"peer": other.name, "target": other.target} for other in case.peers]
    ceiling = case.products / seconds / product_rate(device)
    return {**found, "ceiling": ceiling, "limit": case.limit, "times": case.times, "peers": against}


def _call(case: Case, peer: str) -> Callable[[], float]:
    return next((other.call for other in case.peers if other.name == peer), case.call)


def rows(number: int, threads: int) -> Iterator[dict[str, Any]]:
    """A row per peer on the CPU; one of its own for a case without."""
    own = json.loads(_child("--side", str(number), "", "cpu", threads=threads))
    limit, _, peers = own.pop("limit"), own.pop("times"), own.pop("peers")
    own = {"metric": own.pop("metric"), "threads": threads, **own}
    if limit is not None:
        yield {**own, "target": f"{1000 * limit:g} ms", "met": own["ms"] <= 1000 * limit}
    for peer in peers:
        other = json.loads(_child("--side", str(number), peer["peer"], "cpu", threads=threads))
        ratio = other["ms"] / own["ms"]
        compared = {"peer": peer["peer"], "peer_ms": other["ms"], "ratio": ratio, "peer_value": other["value"]}
        yield {**own, **compared, "target": f"{peer['target']:g} x", "met": ratio >= peer["target"]}


def accelerated(device: str) -> Iterator[dict[str, Any]]:
    """A row per metric of an accelerator: one CPU thread beside it, and how far their values differ.

    Each side is one process for all metrics, and both run at once: one thread of either takes one core.
    """
    with ThreadPoolExecutor() as sides:
        found = sides.map(lambda place: _child("--all", place, threads=1).splitlines(), (device, "cpu"))
    for there, here in (map(json.loads, lines) for lines in zip(*found, strict=True)):
        ratio, difference = here["ms"] / there["ms"], abs(there["value"] - here["value"]) / abs(here["value"])
        yield {
            "metric": there["metric"],
            "ms": there["ms"],
            "ceiling": there["ceiling"],
            "cpu_ms": here["ms"],
            "times": ratio,
            "target": there["times"],
            "met": there["times"] is None or ratio >= there["times"],
            "difference": difference,
            "agrees": difference <= AGREEMENT,
        }


def peak(peer: str) -> float:
    """MiB that one call of the KAD holds at most beyond its inputs."""
    call = _call(kernel("cpu"), peer)
    ctypes.CDLL(None).malloc_trim(0)  # what making the inputs left free would be used again unseen
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak so far counts no more
    before = _held("VmRSS")
    call()
    return _held("VmHWM") - before


def _held(key: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / KIB_PER_MIB


def _child(*arguments: str, threads: int = 2) -> str:
    """What this script prints in a process with so many threads."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=os.environ | limits, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return done.stdout


def table(device: str) -> pd.DataFrame:
    """All rows: of the CPU with one thread and with two."""
    if device != "cpu":
        return pd.DataFrame(accelerated(device))
    found = []
    for threads in (1, 2):
        for number in range(len(CASES)):
            found += list(rows(number, threads))
            print(found[-1]["metric"], f"{found[-1]['ms']:.3g} ms", file=sys.stderr)
    return pd.DataFrame(found)


def machine(device: str) -> str:
    """What it ran on."""
    where = f"{os.cpu_count()} cores of {_processor()}"
    if device != "cpu":
        where = f"{_card(find_device(device))} beside one thread of {where}"
    return f"{where}; Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"


def _card(device: torch.device) -> str:
    named = getattr(torch.get_device_module(device), "get_device_name", None)
    return str(named(device)) if named else str(device)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))


def write(found: pd.DataFrame, device: str) -> None:
    """One file for machines, one for people."""
    kind = torch.device(device).type
    found.to_csv(HERE / f"{kind}.csv", index=False)
    shown = found.drop(columns=["value", "peer_value"], errors="ignore").to_markdown(index=False, floatfmt=".3g")
    (HERE / f"{kind}.md").write_text(f"{machine(device)}\n\n{shown}\n", encoding="utf-8")


def write_memory() -> None:
    """What one KAD of 10,000 x 10,000 frames holds, on either side; what the allocator keeps differs between runs."""
    sides = {"this project": "", "kadtk": "kadtk"}
    held = {name: [float(_child("--peak", peer)) for _ in range(PROCESSES)] for name, peer in sides.items()}
    rows = [{"MiB beyond the inputs": name, "least": min(peaks), "most": max(peaks)} for name, peaks in held.items()]
    shown = pd.DataFrame(rows).to_markdown(index=False, floatfmt=".0f")
    (HERE / "memory.md").write_text(f"{machine('cpu')}\n\n{shown}\n", encoding="utf-8")


def main() -> None:
    """Write the table as CSV and Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="as torch names it: cuda, cuda:1, xpu")
    parser.add_argument("--memory", action="store_true", help="measure the memory of the KAD instead")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--all", help=argparse.SUPPRESS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        number, peer, device = given.side
        print(json.dumps(side(int(number), peer, device)))
    elif given.all:
        for number in range(len(CASES)):
            print(json.dumps(side(number, "", given.all)), flush=True)
    elif given.peak is not None:
        print(peak(given.peak))
    elif given.memory:
        write_memory()
    else:
        device = str(find_device(given.device))
        write(table(device), device)


if __name__ == "__main__":
    main()

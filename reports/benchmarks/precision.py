"""What bfloat16 saves on a CPU, of the embedded denoiser: writes precision.csv and precision.md.

python reports/benchmarks/precision.py    # a minute of one core

Milliseconds of one thread for each clip of a batch of 32, the least of several, whatever else runs: forward without
gradient, as clips are sampled, and forward and backward, as they are learnt. Runs in `bf16` take the last row. What it
saves depends on the processor, which the table's last line names.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch
from run import machine

from dragon_rewards.storage.results import write_table
from dragon_train.descriptors import Loading
from dragon_train.loop.processes import reduced
from dragon_train.registry import load_train_registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

HERE = Path(__file__).parent
CLIPS, TIMES = 32, 6
HALF = torch.bfloat16
CONTEXTS: dict[str, tuple[torch.dtype, Callable[[], AbstractContextManager[None]]]] = {
    "float32": (torch.float32, nullcontext),
    "bfloat16, fused attention": (HALF, lambda: reduced("cpu", HALF, unfused=False)),
    "bfloat16, unfused attention": (HALF, lambda: reduced("cpu", HALF, unfused=True)),
}


def call(network: nn.Module) -> Tensor:
    """What the denoiser makes of 32 noised clips with captions of 40 tokens."""
    shape = {"encoder_hidden_states": (40, 128), "global_hidden_states": (1, 256)}
    condition = {name: torch.randn(CLIPS, *size) for name, size in shape.items()}
    made: Tensor = network(torch.randn(CLIPS, 128, 80), torch.full((CLIPS,), 0.5), **condition, return_dict=False)[0]
    return made


def milliseconds(work: Callable[[], object]) -> float:
    """The least time of the process for one clip."""
    times = []
    for _ in range(TIMES):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times) / CLIPS * 1000


def times(precision: str) -> dict[str, object]:
    """Both times of one precision."""
    dtype, context = CONTEXTS[precision]
    network = load_train_registry().pipeline("embedded").factory(Loading(dtype=dtype)).denoiser.requires_grad_()
    with context():
        with torch.no_grad():
            forward = milliseconds(lambda: call(network))
        both = milliseconds(lambda: call(network).float().square().mean().backward())
    return {"precision": precision, "forward": forward, "forward and backward": both}


def main() -> None:
    """One row for each precision."""
    torch.set_num_threads(1)
    write_table(HERE / "precision", pd.DataFrame(map(times, CONTEXTS)))
    with (HERE / "precision.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{machine('cpu')}; {', '.join(instructions()) or 'no instructions for bfloat16'}\n")


def instructions() -> list[str]:
    """The processor's instructions for bfloat16."""
    return sorted({"avx512_bf16", "amx_bf16"} & {*Path("/proc/cpuinfo").read_text(encoding="utf-8").split()})


if __name__ == "__main__":
    main()

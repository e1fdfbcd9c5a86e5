"""A Ray cluster of two nodes, for holders of its token alone."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import pytest

from dragon_rewards.storage.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 900.0  # seconds that the tests of another process may hold a cluster
TESTS = Path(__file__).parents[1]
TOKEN = token_hex(32)  # Ray reads it once in a process, which may hold one cluster after the other


@contextmanager
def two_nodes() -> Iterator[None]:
    """Two nodes of one CPU each, at RAY_ADDRESS; workers find the functions of tests.

    The second says that it has a GPU, too. Other tests wait for their cluster meanwhile: two that start
    together take the same ports.
    """
    with locked(Path(gettempdir()), "dragon-ray.lock", wait=LONGEST), pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 of Ray's own choice would starve beside other tests
        patch.setenv("RAY_AUTH_MODE", "token")  # Ray's ports are open to the network
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        patch.setenv("PYTHONPATH", str(TESTS))
        patch.setenv("PYTHONHASHSEED", "0")  # PEFT writes a set of names, in the order of their hashes
        from ray.cluster_utils import Cluster

        node: dict[str, Any] = {"num_cpus": 1, "include_dashboard": False}
        started = Cluster(initialize_head=True, head_node_args=node)
        started.add_node(**node, num_gpus=1)
        patch.setenv("RAY_ADDRESS", started.address)
        yield
        started.shutdown()  # type: ignore[no-untyped-call]

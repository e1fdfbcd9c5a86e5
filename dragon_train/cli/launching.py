"""What `--launcher` chooses for work on many files: worker processes or a cluster, which compute its shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dragon_rewards.errors import ConfigError
from dragon_rewards.terminal.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dragon_rewards.storage.shards import Shard
    from dragon_train.bench.launchers import Launcher


@dataclass(frozen=True)
class ShardLauncher:
    """A launcher of runs that is given shards: what `dragon_rewards.sharded.Launch` asks for."""

    launcher: Launcher

    def __call__(
        self, doing: str, shards: Sequence[Shard[Any]], function: Callable[..., None], *arguments: object
    ) -> None:
        """Compute the shards that are not done, and show on stderr how many are."""
        from dragon_train.bench.launchers import Task

        waiting = [shard for shard in shards if not shard.done]
        tasks = [Task(function, shard.folder, (shard.sources, *arguments)) for shard in waiting]
        with progress(doing, "shards", len(waiting)) as bar:
            self.launcher.run(tasks, lambda: bar.update(sum(shard.done for shard in waiting)))


def chosen_launcher(
    name: str | None, workers: int | None, cpus: float, gpus: float, memory: float | None, device: str | None
) -> ShardLauncher | None:
    """Return the launcher that `--launcher` names; None without one.

    Raises:
        ConfigError: there is none, and options that go with it.
        DragonError: as `make_launcher` says.
    """
    from dragon_train.bench.launchers import Resources, make_launcher

    resources = Resources(cpus, gpus, memory)
    if name is not None:
        return ShardLauncher(make_launcher(name, workers, resources, device))
    if workers is not None or resources != Resources():
        raise ConfigError("--workers, --cpus, --gpus and --memory go with --launcher; name one: local, or ray")
    return None

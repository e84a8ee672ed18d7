"""Shards on the machines of a Ray cluster, or on the cores of this one. The only file that knows Ray.

Ray Data deals descriptions of shards out to a pool of actors, each with a captioner of its own, one shard at a time. An
actor reads, captions and writes its shard by itself, and gives back a record. So pictures never pass through Ray, and a
shard is what is done exactly once: Ray calls again for a shard whose worker died, the part has the same name, and only
the record that comes back counts. Rows that Ray reads and repartitions itself would be as quick, but which of them are
done after a kill nobody could tell without reading all of the output.

A shard whose worker dies again and again is given up, and the others go on.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioner.batch.cluster.shards import Shard
from captioner.batch.cluster.worker import Packed, ShardCaptioner, Task, not_done
from captioner.errors import CaptionerError, ConfigError, MissingDependencyError

_TRIES = 4
"""How often a shard is begun: each time but the first its worker died, or its machine did."""
_ROUNDS = 64
"""Shards for each actor that are handed to Ray together: their descriptions are in memory twice."""
_AT_LEAST = 1_000
_STORE_BYTES = 256 * 2**20
"""Of Ray's memory for objects on this machine: descriptions, the captioner and records are all there is."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""No statistics of use are sent, and nothing is said about graphics cards that are not there."""


@dataclass(frozen=True)
class Cluster:
    """Where the work is done."""

    address: str = ""
    """Of a cluster that runs, such as `10.0.0.1:6379` or `auto`; empty starts one on this machine."""
    workers: int | None = None
    """Actors; None: one for each core of the cluster."""
    cores: int = 1
    """Of this machine, when a cluster is started on it."""
    device: str = "cpu"
    """With `cuda` each actor has a GPU for itself."""


def require_ray() -> Any:
    """Ray, with nothing that it sends or asks. Raises `MissingDependencyError`."""
    os.environ.update(_QUIET)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what its C++ says goes past all loggers
    try:
        importlib.import_module("ray.data")
    except ImportError:
        raise MissingDependencyError("--engine ray needs Ray: pip install 'captioner[scale]'") from None
    return importlib.import_module("ray")


@contextmanager
def connected(cluster: Cluster) -> Iterator[int]:
    """A cluster, and how many actors it has room for; one that was started here ends with it.

    Raises:
        CaptionerError: there is no cluster at the address, or it has no room.
        MissingDependencyError: Ray is not installed.
    """
    ray = require_ray()
    with ExitStack() as stack:
        # Threads of Ray print what happens to workers; what matters of it is in the records.
        stack.enter_context(redirect_stdout(stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))))
        stack.callback(ray.shutdown)
        _begin(ray, cluster)
        kind = "GPU" if cluster.device == "cuda" else "CPU"
        room = int(ray.cluster_resources().get(kind, 0))
        if room < 1:
            raise ConfigError(f"the Ray cluster has no {kind}; start its nodes with one, or choose another --device")
        yield min(room, cluster.workers or room)


def _begin(ray: Any, cluster: Cluster) -> None:
    """Connect, or start a cluster here."""
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
    local = {
        "num_cpus": cluster.workers or cluster.cores,
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
    }
    try:
        with _silent():
            ray.init(address=cluster.address or "local", **quiet, **({} if cluster.address else local))
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CaptionerError(
            f"no Ray cluster at {cluster.address or 'this machine'}: {reason}", code="cluster"
        ) from None


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing is written to stderr, whoever does it: Ray's C++ says how it was told to be quiet."""
    sys.stderr.flush()
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


class _Tries:
    """Counts how often each shard was begun, in a process of its own: Ray itself would try for ever."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, shard_id: str) -> int:
        """One more time; returns how often by now."""
        self._begun[shard_id] += 1
        return self._begun[shard_id]


def _count_tries(ray: Any) -> Any:
    """The one that counts, on the machine of the job itself: others may come and go."""
    here = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    lasting = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}
    return ray.remote(**lasting)(_Tries).remote()


class _Actor(ShardCaptioner):
    """As Ray makes them: with the captioner in Ray's memory, where each machine has it once."""

    def __init__(self, captioner: Sequence[Any], task: Task, tries: Any) -> None:
        self._ray, self._tries = importlib.import_module("ray"), tries
        super().__init__(self._ray.get(captioner[0]), task)

    def caption(self, shard: Shard) -> dict[str, Any]:
        """See `ShardCaptioner.caption`; a shard that killed its worker again and again is not done."""
        begun = self._ray.get(self._tries.begin.remote(shard.id))
        if begun > _TRIES:
            return not_done(shard, f"{shard.url}: shard {shard.id} was begun {_TRIES} times, and its worker died")
        return {**super().caption(shard), "begun": begun}


def caption_shards(shards: Sequence[Shard], packed: Packed, task: Task, actors: int) -> Iterator[dict[str, Any]]:
    """Records of shards as they are done, in any order; of a shard that was given up there is none.

    Args:
        shards: any number.
        packed: the captioner.
        task: what is to be done with each.
        actors: how many work side by side, in a cluster that is `connected`.
    """
    data = importlib.import_module("ray.data")
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.verbose_progress = False
    context.max_errored_blocks = -1  # a shard that kills its worker stops no other
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ray = importlib.import_module("ray")
    captioner, tries = [ray.put(packed)], _count_tries(ray)
    many = max(_AT_LEAST, _ROUNDS * actors)
    for first in range(0, len(shards), many):
        wave = shards[first : first + many]
        lines = data.from_items([{"shard": shard.to_json()} for shard in wave], override_num_blocks=len(wave))
        records = lines.map_batches(
            _Actor,
            fn_constructor_args=(captioner, task, tries),
            batch_size=1,
            compute=data.ActorPoolStrategy(
                min_size=1, max_size=actors, initial_size=min(actors, len(wave)), max_tasks_in_flight_per_actor=1
            ),
            num_cpus=1,
            num_gpus=1 if task.device == "cuda" else None,
        )
        for batch in records.iter_batches(batch_size=None, prefetch_batches=0):
            yield from map(json.loads, batch["record"])

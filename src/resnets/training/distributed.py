"""Several processes that train one network together: each takes its share of every batch, and gradients are averaged over all.

Launched by torchrun, which sets RANK, WORLD_SIZE and LOCAL_RANK; without it a world is one process and every function here costs nothing.
Collective operations on CPU tensors go over Gloo, those on GPU tensors over NCCL.
"""

from __future__ import annotations

import datetime
import gc
import inspect
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import DistStoreError
from torch.distributed.rendezvous import rendezvous

from ..data.sampling.order import Share


@dataclass(frozen=True)
class World:
    """This process's place among those that train together."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Place among the processes of this machine, which is the number of its GPU."""

    @property
    def share(self) -> Share:
        """Its part of every batch."""
        return Share(self.rank, self.size)

    @property
    def writes(self) -> bool:
        """Whether it is the main process, which alone writes files and reports."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Whether any process says so; all processes must ask."""
        return bool(self.sum(torch.tensor([int(flag)]))) if self.size > 1 else flag

    def from_first(self, value: Any) -> Any:
        """The first process's value, a plain object, in all of them."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows (b, ...) of all processes, in rank order; their numbers may differ."""
        if self.size == 1:
            return rows
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(counts, torch.tensor([len(rows)]))
        longest = max(int(count) for count in counts)
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])

    def share_buffers(self, module: nn.Module) -> None:
        """Gives every process the first one's buffers (running statistics), which are the ones that are saved."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process runs the block while the others wait, then they run it: what it fetched or cached they find."""
        if self.size > 1 and not self.writes:
            dist.barrier()
        yield
        if self.size > 1 and self.writes:
            dist.barrier()


ALONE = World()
"""One process."""


_set_timeout = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout  # public since torch 2.15

_JOINING = 60.0
"""Seconds in which processes must have found each other."""


@contextmanager
def joined(device: str, timeout: float) -> Iterator[World]:
    """The world of this process for the time of the block.

    Args:
        device: the recipe's; NCCL is joined unless it says the CPU or there is no GPU.
        timeout: seconds after which a collective operation that another process does not answer is an error, so that torchrun
            can replace it.

    Raises:
        RuntimeError: (torch's DistNetworkError) the other processes cannot be reached.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield ALONE
        return
    world = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_RANK", "0")))
    uses_gpu = torch.cuda.is_available() and not device.startswith("cpu")
    if uses_gpu:
        torch.cuda.set_device(world.local_rank)
    backend = "cpu:gloo,cuda:nccl" if uses_gpu else "gloo"
    # Processes that torchrun starts together find each other at once or, where a connection is lost, never: then it starts them anew.
    joining = datetime.timedelta(seconds=min(timeout, _JOINING))
    store, _, _ = next(rendezvous("env://", world.rank, world.size, timeout=joining))
    dist.init_process_group(
        backend, store=_unused_part(store, world, joining), rank=world.rank, world_size=world.size, timeout=joining
    )
    _set_timeout(datetime.timedelta(seconds=timeout))
    try:
        yield world
    finally:
        # Gloo's group waits at its end for a thread that may want Python's lock; who frees it last must not hold that, as a wrapped network
        # would that is collected later.
        gc.collect()
        dist.destroy_process_group()


def _unused_part(store: Store, world: World, timeout: datetime.timedelta) -> Store:
    """A part of the store that these processes share and no earlier ones have written to.

    torchrun keeps one store for all its attempts, and a replaced process that reads there the address of a dead one, before the living
    one has written its own, can never join. torchrun's count of attempts does not tell them apart, since each machine has its own.
    So every process asks with a question that nobody has asked before, and the first process answers each with the same new name,
    until all have said that they know it.

    Raises:
        RuntimeError: (torch's DistStoreError) a process did not come within the timeout.
    """
    store.set_timeout(timeout)
    if not world.writes:
        question = uuid.uuid4().hex
        store.set(f"question {world.rank}", question)
        name = store.get(f"answer {question}").decode()
        store.set(f"{name} known to {world.rank}", "")
        return PrefixStore(name, store)
    name = uuid.uuid4().hex
    deadline = time.monotonic() + timeout.total_seconds()
    missing = set(range(1, world.size))
    while missing:
        for rank in sorted(missing):
            if store.check([f"question {rank}"]):  # perhaps one of an earlier attempt: to be asked again
                store.set(f"answer {store.get(f'question {rank}').decode()}", name)
            if store.check([f"{name} known to {rank}"]):
                missing.discard(rank)
        if missing and time.monotonic() > deadline:
            raise DistStoreError(f"process {min(missing)} of {world.size} did not join within {timeout.total_seconds():.0f} s")
        time.sleep(0.01)
    return PrefixStore(name, store)


def wrapped(network: nn.Module, world: World, device: torch.device, *, phases: bool = False) -> nn.Module:
    """The network whose backward pass averages gradients over the world; the network itself in a world of one. `phases` says that
    some of its parameters learn in a part of the run only."""
    if world.size == 1:
        return network
    ids = [device.index] if device.type == "cuda" else None
    kind = nn.parallel.DistributedDataParallel
    # Running statistics do not steer training; those of the first process are given to all before each evaluation.
    option = "forward_sync_buffers" if "forward_sync_buffers" in inspect.signature(kind).parameters else "broadcast_buffers"
    options: dict[str, Any] = {option: False, "find_unused_parameters": phases, "gradient_as_bucket_view": True}
    return kind(network, device_ids=ids, **options)

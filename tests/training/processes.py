"""Processes that train: several together, or one that is killed. A server that has imported torch once forks them, so that each
starts in milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path

from resnets.classification.recipe import Recipe

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "resnets.training.run"])


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def start(recipe: Recipe | None, environment: dict[str, str], directory: Path | None = None) -> BaseProcess:
    """A process that carries out `recipe`, or goes on with the run in `directory`."""
    process = CONTEXT.Process(target=_work, args=(recipe, environment, directory), daemon=True)
    process.start()
    return process


def train_together(recipe: Recipe, size: int) -> None:
    """Carries out `recipe` in `size` processes, as torchrun would start them."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
    started = [start(recipe, {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(size)]
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0] * size


def _work(recipe: Recipe | None, environment: dict[str, str], directory: Path | None) -> None:
    os.environ.update(environment)
    import torch

    from resnets.tasks import resume, train

    torch.set_num_threads(1)
    if recipe is not None:
        train(recipe)
    else:
        assert directory is not None
        resume(directory)

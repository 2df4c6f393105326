"""Two processes that train one detector or segmenter, and what each of them saw and ended with."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnets.training.base_recipe import RunRecipe
from resnets.training.run import RunDirectory

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["torch", "resnets.training.run"])


def train_in_two(
    recipe: RunRecipe, folder: Path, *, interrupt_at: int | None = None, goes_on: bool = False
) -> list[dict[str, Any]]:
    """Carries out `recipe` in two processes as torchrun would start them, or goes on with its run.

    Args:
        folder: for what the processes leave here.
        interrupt_at: step after which the second process gets SIGINT, as from an operator who stops one of them.

    Returns:
        For each process, in rank order: `weights` (before the last evaluation), `indices` (of each step's images), `evaluated` (places
        of the images in evaluations), `events` (what its listeners heard) and `interrupted`.
    """
    folder.mkdir(exist_ok=True)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = str(place.getsockname()[1])
    started = []
    for rank in range(2):
        environment = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "WORLD_SIZE": "2",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
        }
        process = CONTEXT.Process(target=_work, args=(recipe, environment, folder, interrupt_at, goes_on), daemon=True)
        process.start()
        started.append(process)
    for process in started:
        process.join(240)
    assert [process.exitcode for process in started] == [0, 0]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    """The logged lines of a kind."""
    return [event for event in RunDirectory(run).events() if event["event"] == kind]


def check_images_and_weights(first: dict[str, Any], second: dict[str, Any], kept: Mapping[str, Tensor]) -> None:
    """Asserts that two epochs of four steps used each of the 24 images once, that each of the 8 was evaluated once, and that both
    processes ended with the kept weights."""
    for name, value in kept.items():
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        assert torch.equal(first["weights"][name], value), name
    for epoch in range(2):
        steps = slice(4 * epoch, 4 * epoch + 4)
        used = [place for seen in (first, second) for step in seen["indices"][steps] for place in step]
        assert sorted(used) == list(range(24))
        assert {len(step) for seen in (first, second) for step in seen["indices"][steps]} == {3}
    assert (first["evaluated"], second["evaluated"]) == ([0, 1, 2, 3], [4, 5, 6, 7])
    assert first["events"][-1]["event"] == "done"
    assert second["events"] == []


def check_stopping_and_going_on(recipe: RunRecipe, folder: Path) -> None:
    """Asserts that a signal to one process stops both after the same step, and that going on gives the weights of a run without stop."""
    whole, _ = train_in_two(recipe.updated(output=folder / "whole"), folder / "seen-whole")
    parts = recipe.updated(output=folder / "parts")
    stopped = train_in_two(parts, folder / "seen-stopped", interrupt_at=3)
    assert [seen["interrupted"] for seen in stopped] == [True, True]
    assert [len(seen["indices"]) for seen in stopped] == [3, 3]
    resumed = train_in_two(parts, folder / "seen-resumed", goes_on=True)
    for seen in resumed:
        assert len(seen["indices"]) == 5
        assert all(torch.equal(value, whole["weights"][name]) for name, value in seen["weights"].items())


def _work(recipe: RunRecipe, environment: dict[str, str], folder: Path, interrupt_at: int | None, goes_on: bool) -> None:
    os.environ.update(environment)
    import signal

    from resnets.tasks import resume, train
    from resnets.training import run
    from resnets.training.loop import Interrupted

    torch.set_num_threads(1)
    rank = int(environment["RANK"])
    seen: dict[str, Any] = {"weights": {}, "indices": [], "evaluated": [], "events": [], "interrupted": False}
    open_session = run.open_session

    def watched(*arguments: Any) -> Any:
        session = open_session(*arguments)
        inputs, evaluate, in_order = session.inputs, session.evaluate, session.feed.evaluation.in_order

        def noted_inputs(batch: Any) -> Any:
            seen["indices"].append(batch.indices.tolist())
            if len(seen["indices"]) == interrupt_at and rank == 1:
                signal.raise_signal(signal.SIGINT)
            return inputs(batch)

        def noted_in_order() -> Any:
            for row in in_order():
                seen["evaluated"] += [row[-1]] if isinstance(row[-1], int) else row[-1]
                yield row

        def noted_evaluate(watcher: Any = None) -> Any:
            seen["weights"] = {name: value.clone() for name, value in session.network.state_dict().items()}
            return evaluate(watcher)

        session.inputs, session.evaluate, session.feed.evaluation.in_order = noted_inputs, noted_evaluate, noted_in_order
        return session

    run.open_session = watched
    try:
        if goes_on:
            assert recipe.output is not None
            resume(recipe.output, [seen["events"].append])
        else:
            train(recipe, [seen["events"].append])
    except Interrupted:
        seen["interrupted"] = True
    torch.save(seen, folder / f"{rank}.pt")

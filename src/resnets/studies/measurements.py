"""How a task is measured: trained and evaluated, its signal measured, or counted. Each gives plain JSON values.

Legend: N images. Errors are shares in [0, 1]. A result has

    metrics    numbers by name
    curves     trained: "train" [[step, error of the batches since the last line], ...], "test" [[step, error], ...]
    units      signal: one object a residual unit, as `inspection.signal` measures them
    diverged   trained: why it stopped, or null
    seconds    of training, null where nothing was trained
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

    from ..networks import Network
    from ..training.run import Run

Listener = Callable[[dict[str, Any]], None]

TRAIN_IMAGES = 10_000
"""At most so many training images are evaluated for the training error: the same of every run."""
SIGNAL_IMAGES = 128
SEED_OF_SUBSETS = 2015


def measure(task: Task, folder: Path, listen: Listener, trained: dict[str, Any] | None) -> dict[str, Any]:
    """Carries out `task`, with its files in `folder`; `trained` is the result of the training that a trained signal needs.

    Raises:
        ValueError, OSError: as `training.run.train`.
        Interrupted: a signal stopped it; what was trained is kept.
    """
    if task.measurement == "count":
        return _count(task)
    if task.measurement == "initial-signal":
        return _initial_signal(task)
    if task.measurement == "trained-signal":
        assert trained is not None
        return _trained_signal(task, folder, trained)
    return _training(task, folder, listen)


# Training -------------------------------------------------------------------------------------------------------------------------


def _training(task: Task, folder: Path, listen: Listener) -> dict[str, Any]:
    from ..training.engine.step import Diverged
    from ..training.run import RunDirectory

    assert task.recipe is not None
    run, started = RunDirectory(folder / "run"), time.perf_counter()
    diverged: str | None = None
    done: Run | None = None
    try:
        done = _train_or_resume(task, run.path, listen)
    except Diverged as error:
        diverged = str(error).partition(";")[0].partition(", and training")[0]
    events = run.events()
    metrics = _chance(task) if done is None else _errors(task, done)
    steps = [event for event in events if event["event"] == "step"]
    metrics["running_error"] = _running_error(task, steps, metrics["train_error"] if done is None else None)
    for leftover in (*folder.glob("run/checkpoint*.pt"), run.best):
        leftover.unlink(missing_ok=True)  # a finished run needs none of them, and there are many runs
    seconds = done.metrics["training_seconds"] if done is not None else time.perf_counter() - started
    return {
        "metrics": {**metrics, "training_seconds": seconds},
        "curves": {
            "train": [[event["step"], 1 - event["accuracy"]] for event in steps],
            "test": [[event["step"], 1 - event["top1"]] for event in events if event["event"] == "evaluation"],
        },
        "diverged": diverged,
        "seconds": seconds,
    }


def _train_or_resume(task: Task, directory: Path, listen: Listener) -> Run:
    """Goes on from a checkpoint where there is one that fits; else begins anew."""
    from ..tasks import resume, train

    assert task.recipe is not None
    if any(directory.glob("checkpoint*.pt")):
        try:
            return resume(directory, (listen,))
        except (ValueError, KeyError, OSError) as error:
            listen({"event": "message", "message": f"{directory} cannot be gone on with ({error}); it begins anew"})
    if directory.exists():
        shutil.rmtree(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    return train(task.recipe.updated(output=directory), (listen,))


def _errors(task: Task, done: Run) -> dict[str, float]:
    """Training and test error and loss of the finished network, in evaluation mode."""
    import torch

    from ..classification.evaluate import evaluate
    from ..data.datasets.catalogue import DATASETS
    from ..weights.model_file import load_model

    assert task.recipe is not None
    network = load_model(done.model_path)
    device = torch.device("cuda" if torch.cuda.is_available() and task.recipe.device in ("auto", "cuda") else "cpu")
    network = network.to(device).to(memory_format=torch.channels_last)
    if task.recipe.data in DATASETS:
        images = _training_pictures(task, network, TRAIN_IMAGES, device, task.recipe.evaluation.batch_size)
    else:
        images = _own_training_pictures(done.directory, device)
    train = evaluate(network, images)
    return {
        "train_error": 1 - train.top1,
        "test_error": 1 - done.metrics["top1"],
        "train_loss": train.loss,
        "test_loss": done.metrics["loss"],
        "parameters": float(sum(p.numel() for p in network.parameters())),
    }


def _training_pictures(task: Task, network: Network, num: int, device: Any, batch: int) -> Iterable[tuple[Tensor, Tensor]]:
    """`num` training images, the same in every run, as the network takes them, without augmentation."""
    import torch

    from ..data.datasets.catalogue import load

    name, folder = (task.data, None) if task.recipe is None else (task.recipe.data, task.recipe.data_folder)
    arrays = load(name or "digits", "train", folder, report=lambda _message: None)
    generator = torch.Generator().manual_seed(SEED_OF_SUBSETS)
    chosen = torch.randperm(len(arrays), generator=generator)[:num].sort().values
    assert network.preprocessing is not None
    for part in torch.split(chosen, batch):
        images = network.preprocessing(arrays.images[part].to(device))
        yield images.contiguous(memory_format=torch.channels_last), arrays.labels[part].to(device)


def _own_training_pictures(directory: Path, device: Any) -> Iterable[tuple[Tensor, Tensor]]:
    """All training images of a finished run on the user's own data or ImageNet, which come in order of class and are thus not cut."""
    from ..classification.feed import open_feed
    from ..classification.recipe import Recipe
    from ..data.sampling.order import WHOLE
    from ..training.run import RunDirectory

    recipe = RunDirectory(directory).read_recipe(Recipe)
    return open_feed(recipe, device, WHOLE, lambda _message: None).training.in_order()


def _chance(task: Task) -> dict[str, float]:
    """A run that diverged counts as one that knows nothing: the error of guessing among the classes (ten, where that is unknown)."""
    from ..data.datasets.catalogue import DATASETS

    assert task.recipe is not None
    classes = len(DATASETS[task.recipe.data].classes) if task.recipe.data in DATASETS else 10
    error, loss = 1 - 1 / classes, math.log(classes)
    return {"train_error": error, "test_error": error, "train_loss": loss, "test_loss": loss}


def _running_error(task: Task, steps: list[dict[str, Any]], chance: float | None) -> float:
    """Mean error of the training batches over the whole run: small where a network learns fast. Steps that a diverged run did not make
    count as chance."""
    assert task.recipe is not None
    total, before, error_sum = task.recipe.max_steps or (steps[-1]["step"] if steps else 1), 0, 0.0
    for event in steps:
        error_sum += (event["step"] - before) * (1 - event["accuracy"])
        before = event["step"]
    if chance is not None:
        return (error_sum + (total - before) * chance) / total
    return error_sum / max(before, 1)


# Signal ---------------------------------------------------------------------------------------------------------------------------


def _initial_signal(task: Task) -> dict[str, Any]:
    """Of a freshly initialised network on a batch of the data."""
    import torch

    from ..data.datasets.catalogue import DATASETS
    from ..data.decoding.preprocessing import Preprocessing
    from ..networks import build

    info = DATASETS[task.data or "digits"]
    spec = task.spec
    assert spec is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        network = build(spec.updated(in_channels=info.channels, num_classes=len(info.classes)))
        network.preprocessing = Preprocessing(size=max(info.size, 16), channels=info.channels, mean=info.mean, std=info.std)
        return _signal(task, network, 0)


def _trained_signal(task: Task, folder: Path, trained: dict[str, Any]) -> dict[str, Any]:
    """Of the trained network in the training's folder."""
    from ..weights.model_file import load_model

    if trained["diverged"]:
        return {**trained, "units": []}
    network = load_model(folder / "run" / "model.safetensors")
    measured = _signal(task, network, trained["seconds"])
    return {**measured, "metrics": {**trained["metrics"], **measured["metrics"]}, "curves": trained["curves"]}


def _signal(task: Task, network: Network, seconds: float) -> dict[str, Any]:
    import torch

    from ..inspection.signal import measure_signal

    images, labels = next(iter(_training_pictures(task, network, SIGNAL_IMAGES, torch.device("cpu"), SIGNAL_IMAGES)))
    units = measure_signal(network, images.contiguous(), labels).units
    ratios = [unit.branch_ratio for unit in units if unit.branch_ratio is not None]
    products = [
        (unit.shortcut_gradient, unit.shortcut_product)
        for unit in units
        if unit.shortcut_gradient is not None and unit.shortcut_product
    ]
    metrics = {"response_std": sum(unit.response_std for unit in units) / len(units)}
    if units[0].gradient and units[-1].gradient:
        metrics["gradient_ratio"] = math.log10(units[0].gradient / units[-1].gradient)
    if ratios:
        metrics["branch_ratio"] = sum(ratios) / len(ratios)
    if products:
        metrics["product"] = min(product for _, product in products)
        metrics["product_deviation"] = max(abs(measured / product - 1) for measured, product in products)
    rows = [
        {
            "name": unit.name,
            **{
                key: _finite(getattr(unit, key))
                for key in ("response_std", "branch_ratio", "gradient", "shortcut_gradient", "shortcut_product")
            },
        }
        for unit in units
    ]
    return {"metrics": {key: value for key, value in metrics.items() if math.isfinite(value)}, "units": rows, "diverged": None,
            "seconds": seconds or None}  # fmt: skip


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# Counts ---------------------------------------------------------------------------------------------------------------------------


def _count(task: Task) -> dict[str, Any]:
    """Parameters and multiply-adds for one image of a network; of one of a single stage the weights of that stage's convolutions."""
    spec = task.spec
    if spec is None:
        from ..weights.foreign_network import foreign_cost

        parameters, macs, _ = foreign_cost(task.network)
        return {"metrics": {"parameters": parameters, "macs": macs}, "diverged": None, "seconds": None}
    import torch

    from ..inspection.cost import network_cost
    from ..networks import build
    from ..networks.initialization import CONVOLUTION_TYPES

    if len(spec.blocks) > 1:
        cost = network_cost(spec)
        return {"metrics": {"parameters": cost.parameters, "macs": cost.macs}, "diverged": None, "seconds": None}
    with torch.device("meta"):
        unit = getattr(build(spec), spec.stage_names[0])
    weights = sum(module.weight.numel() for module in unit.modules() if isinstance(module, CONVOLUTION_TYPES))
    return {"metrics": {"weights": weights}, "diverged": None, "seconds": None}

"""The named recipes: each against what its paper states, and each carried out for a step on a stand-in of the same shapes.

torchvision's second recipe, as its authors' command and the defaults of references/classification/train.py state it:

| option | value | here |
|---|---|---|
| --nproc_per_node 8 --batch-size 128 | 1024 per step | batch_size |
| --epochs 600 | | epochs |
| --lr 0.5, momentum 0.9, no Nesterov | | optimizer |
| --lr-scheduler cosineannealinglr | once per epoch, to 0 | schedule.kind, final, stairs |
| --lr-warmup-epochs 5 --lr-warmup-method linear --lr-warmup-decay 0.01 | | schedule.warmup, warmup_factor |
| --weight-decay 2e-5 --norm-weight-decay 0 | | optimizer |
| --auto-augment ta_wide --random-erase 0.1 | | augmentation.policy, random_erasing |
| --mixup-alpha 0.2 --cutmix-alpha 1.0 | one of the two a batch | augmentation |
| --label-smoothing 0.1 | | label_smoothing |
| --ra-sampler --ra-reps 4 | | augmentation.repeats |
| --train-crop-size 176 --val-resize-size 232 --val-crop-size 224 | bilinear | image_size, evaluation |
| --model-ema --model-ema-steps 32 --model-ema-decay 0.99998 | | averaging |
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from resnets.classification import feed as feed_module
from resnets.classification.recipes import RECIPES
from resnets.data.datasets.catalogue import DatasetInfo, ImageArrays
from resnets.networks import get_spec
from resnets.tasks import open_session
from resnets.training.optim.schedules import learning_rate_factor

TINY = "cifar-resnet8:width=4,stem_width=4,stem_stride=2,strides=[2,2,2]"
CIFAR = [name for name in RECIPES if name.startswith("cifar10")]
IMAGENET = [name for name in RECIPES if name.startswith("imagenet")]


def quiet(message: str) -> None:
    """Takes the messages of a session that no test reads."""


@pytest.fixture
def cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random images of CIFAR-10's shape in its place."""
    info = DatasetInfo(
        "cifar10", "a stand-in", 96, 24, tuple("abcdefghij"), 3, 32, (0.5,) * 3, (0.25,) * 3, True, "none", "nowhere", "nobody"
    )

    def load(name: str, split: str, folder: Path | None = None, **options: Any) -> ImageArrays:
        generator, count = torch.Generator().manual_seed(len(split)), 96 if split == "train" else 24
        images = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
        return ImageArrays(name, split, images, torch.arange(count) % 10, info.classes, info.mean, info.std)

    monkeypatch.setattr(feed_module, "DATASETS", {"cifar10": info})
    monkeypatch.setattr(feed_module, "load", load)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several sizes in folders by class, in the place of ImageNet."""
    root = tmp_path_factory.mktemp("imagenet")
    random = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 3)):
        for label in ("boat", "cat"):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (30 + i, 50 - i, 3)).astype(np.uint8)
                large = PIL.Image.fromarray(pixels).resize((300 - 4 * i, 260 + 5 * i))
                large.save(root / split / label / f"{i}.jpg")
    return root


def one_step(name: str, **overrides: Any) -> Any:
    """Carries out a recipe's first step with a small network: its session, whose weights have moved."""
    session = open_session(RECIPES[name].updated(network=TINY, device="cpu", **overrides), quiet)
    before = {key: value.clone() for key, value in session.network.state_dict().items()}
    batch = next(iter(session.training.epoch(0, 0)))
    inputs = session.inputs(batch)
    progress = 0.5 / session.total_steps
    factor = learning_rate_factor(session.recipe.schedule, progress)
    result = session.step(inputs, total=batch.total, step=1, progress=progress, factor=factor)
    assert torch.isfinite(result.loss)
    after = session.network.state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not torch.equal(after["head.fc.weight"], before["head.fc.weight"])
    return session, inputs.images


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_recipes_take_a_step(name: str, cifar: None) -> None:
    session, images = one_step(name, batch_size=32)
    assert images.shape == (32, 3, 32, 32)
    result = session.evaluate()
    assert result.num_images == 24
    assert session.total_steps == min(RECIPES[name].epochs * 3, RECIPES[name].max_steps or 10**9)


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet_recipes_take_a_step(name: str, folder: Path) -> None:
    recipe = RECIPES[name]
    session, images = one_step(name, data=str(folder), batch_size=12, evaluation__batch_size=6, loading="memory")
    assert images.shape == (12, 3, recipe.image_size, recipe.image_size)
    evaluated, _ = next(iter(session.feed.evaluation.in_order()))
    size = recipe.evaluation.image_size or recipe.image_size
    assert evaluated.shape[1:] == (3, size, size)
    kept = session.network.preprocessing
    assert (kept.size, kept.resize, kept.interpolation) == (size, recipe.evaluation.resize, recipe.evaluation.interpolation)


def test_the_mean_picture_is_subtracted_and_kept(cifar: None) -> None:
    session = open_session(RECIPES["cifar10-he2015"].updated(network=TINY, batch_size=32), quiet)
    images = session.training.images.double()  # type: ignore[attr-defined]
    mean = (images / 255).mean(0)
    kept = session.network.preprocessing
    assert session.training.preprocessing == kept  # type: ignore[attr-defined]
    seen = kept(session.training.images[:5])  # type: ignore[attr-defined]
    torch.testing.assert_close(seen, (images[:5] / 255 - mean).float(), atol=1e-6, rtol=0)


def test_he_2015_for_cifar() -> None:
    recipe = RECIPES["cifar10-he2015"]
    assert (recipe.batch_size, recipe.max_steps, recipe.optimizer.weight_decay, recipe.optimizer.momentum) == (
        128,
        64_000,
        1e-4,
        0.9,
    )
    for images in (45_000, 50_000):
        assert recipe.epochs * (images // 128) >= 64_000
    rates = [
        recipe.optimizer.learning_rate * learning_rate_factor(recipe.schedule, (step + 0.5) / 64_000)
        for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)
    ]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert (recipe.augmentation.crop_padding, recipe.augmentation.padding_mode) == (4, "zeros")
    deep = RECIPES["cifar10-he2015-110"]
    assert [learning_rate_factor(deep.schedule, (step + 0.5) / 64_000) for step in (399, 400)] == pytest.approx([0.1, 1.0])
    assert RECIPES["cifar10-he2016"].schedule == deep.schedule


def test_torchvisions_settings() -> None:
    """The table above."""
    recipe = RECIPES["imagenet-torchvision-v2"]
    assert (recipe.network, recipe.epochs, recipe.batch_size, recipe.label_smoothing) == ("resnet50", 600, 8 * 128, 0.1)
    rule = recipe.optimizer
    assert (rule.name, rule.learning_rate, rule.momentum, rule.nesterov) == ("sgd", 0.5, 0.9, False)
    assert (rule.weight_decay, rule.decay_norms_and_biases) == (2e-5, False)
    changes = recipe.augmentation
    assert (changes.policy.kind, changes.random_erasing, changes.mixup, changes.cutmix) == ("trivial-augment", 0.1, 0.2, 1.0)
    assert (changes.repeats, changes.crop.kind, changes.crop.area, changes.crop.ratio) == (4, "area", (0.08, 1.0), (3 / 4, 4 / 3))
    assert (recipe.image_size, recipe.evaluation.image_size, recipe.evaluation.resize) == (176, 224, 232)
    left_of_one = (1 - 0.99998) * 1024 * 32 / 600
    assert recipe.averaging.every == 32
    assert recipe.averaging.decay == pytest.approx(1 - left_of_one)
    assert recipe.averaging.start == pytest.approx(5 / 600)
    rates = [learning_rate_factor(recipe.schedule, epoch / 600) for epoch in (0, 1, 4, 5, 599)]
    assert rates[:4] == pytest.approx([0.01, 0.01 + 0.99 / 5, 0.01 + 0.99 * 4 / 5, 1.0])
    assert 0 < rates[4] < 1e-4


@pytest.mark.parametrize(
    ("name", "epochs", "rate", "decay", "smoothing", "size", "magnitude", "mixup", "repeats", "depth"),
    [
        ("imagenet-a1", 600, 5e-3, 0.01, 0.1, 224, 7, 0.2, 3, 0.05),
        ("imagenet-a2", 300, 5e-3, 0.02, 0.0, 224, 7, 0.1, 3, 0.05),
        ("imagenet-a3", 100, 8e-3, 0.02, 0.0, 160, 6, 0.1, 1, 0.0),
    ],
)
def test_strikes_backs_table_2(
    name: str, epochs: int, rate: float, decay: float, smoothing: float, size: int, magnitude: float, mixup: float, repeats: int,
    depth: float,
) -> None:  # fmt: skip
    recipe = RECIPES[name]
    rule, changes, spec = recipe.optimizer, recipe.augmentation, get_spec(recipe.network)
    assert (rule.name, rule.learning_rate, rule.weight_decay, recipe.batch_size) == ("lamb", rate, decay, 2048)
    assert (recipe.epochs, recipe.schedule.stairs, recipe.schedule.warmup) == (epochs, epochs, pytest.approx(5 / epochs))
    assert recipe.schedule.warmup_factor * rate == pytest.approx(1e-4)
    assert recipe.schedule.final * rate == pytest.approx(1e-6)
    assert (recipe.loss.name, recipe.label_smoothing) == ("binary-cross-entropy", smoothing)
    assert (changes.policy.kind, changes.policy.magnitude, changes.policy.deviation) == ("rand-augment", magnitude, 0.5)
    assert (changes.mixup, changes.cutmix, changes.repeats, spec.stochastic_depth) == (mixup, 1.0, repeats, depth)
    assert (recipe.image_size, recipe.evaluation.image_size or recipe.image_size, recipe.evaluation.resize) == (size, 224, 235)


def test_schedules_of_the_others() -> None:
    def rates(name: str, epochs: list[int]) -> list[float]:
        recipe = RECIPES[name]
        return [
            recipe.optimizer.learning_rate * learning_rate_factor(recipe.schedule, (epoch + 0.01) / recipe.epochs)
            for epoch in epochs
        ]

    assert rates("cifar10-wrn", [0, 59, 60, 120, 160, 199]) == pytest.approx([0.1, 0.1, 0.02, 0.004, 0.0008, 0.0008])
    assert rates("cifar10-resnext", [0, 149, 150, 225, 299]) == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001])
    assert rates("imagenet-resnext", [0, 29, 30, 60, 90]) == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.0001])
    assert rates("imagenet-he2016", [0, 29, 30, 60, 89]) == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001])
    assert rates("imagenet-he2015", [0, 29, 30, 60, 90]) == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.0001])


@pytest.mark.parametrize("name", RECIPES)
def test_every_header_states_its_proof(name: str) -> None:
    """Command, hardware, time and result are above each recipe, and a result is measured or published."""
    module = next(
        m
        for m in vars(sys.modules["resnets.classification.recipes"]).values()
        if RECIPES[name] in getattr(m, "__dict__", {}).values()
    )
    source = Path(module.__file__).read_text()
    variable = next(key for key, value in vars(module).items() if value is RECIPES[name])
    header = source[: source.index(f"\n{variable} = ")].rpartition("\n\n")[2]
    for word in ("Command:   resnets train " + name, "Hardware:", "Time:", "Result:"):
        assert word in header, word
    assert "results/" in header or "published:" in header


def test_listing_them_loads_no_torch() -> None:
    code = "import sys, resnets.classification.recipes; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

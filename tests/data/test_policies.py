"""Augmentation policies: each operation against Pillow's and torchvision's, each space against timm's and torchvision's."""

import math
import random

import numpy as np
import PIL.Image
import pytest
import timm.data.auto_augment as timm_policies
import torch
from torch import Generator, Tensor
from torchvision.transforms import v2

from resnets.data.augmentation import policies
from resnets.data.augmentation.operations import COLOURS, MOVES, apply_operations
from resnets.data.sampling.draws import Draws

FILL = (124.0, 116.0, 104.0)
TIMM = {
    "auto-contrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert", "rotate": "Rotate", "posterize": "PosterizeIncreasing",
    "solarize": "SolarizeIncreasing", "solarize-add": "SolarizeAdd", "colour": "ColorIncreasing", "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing", "sharpness": "SharpnessIncreasing", "shear-x": "ShearX", "shear-y": "ShearY",
    "translate-x": "TranslateXRel", "translate-y": "TranslateYRel",
}  # fmt: skip
TORCHVISION = {
    "identity": "Identity", "shear-x": "ShearX", "shear-y": "ShearY", "translate-x": "TranslateX", "translate-y": "TranslateY",
    "rotate": "Rotate", "brightness": "Brightness", "colour": "Color", "contrast": "Contrast", "sharpness": "Sharpness",
    "posterize": "Posterize", "solarize": "Solarize", "auto-contrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip


@pytest.fixture
def images() -> Tensor:
    """Six smooth images with some noise, (6, 3, 24, 30) uint8."""
    coarse = torch.rand(6, 3, 4, 5, generator=Generator().manual_seed(0)) * 200 + 20
    smooth = torch.nn.functional.interpolate(coarse, (24, 30), mode="bilinear", align_corners=True)
    return (smooth + 10 * torch.rand(6, 3, 24, 30, generator=Generator().manual_seed(1))).to(torch.uint8)


def as_pillow(image: Tensor) -> PIL.Image.Image:
    return PIL.Image.fromarray(image.permute(1, 2, 0).numpy())


def as_tensor(image: PIL.Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def test_the_spaces_hold_what_the_references_hold() -> None:
    assert sorted(TIMM.values()) == sorted(timm_policies._RAND_INCREASING_TRANSFORMS)
    assert list(policies._RAND) == list(TIMM)
    assert sorted(TORCHVISION.values()) == sorted(v2.TrivialAugmentWide._AUGMENTATION_SPACE)
    assert list(policies._TRIVIAL) == list(TORCHVISION)


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("magnitude", [0.0, 3.3, 7.0, 9.9])
def test_rand_augments_operations_are_timms(images: Tensor, name: str, magnitude: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images through Pillow, with the sign fixed; the outermost pixels of moved ones, where Pillow samples differently, may differ."""
    for sign in (1.0, -1.0):
        monkeypatch.setattr(timm_policies, "_randomly_negate", lambda value, sign=sign: sign * value)
        hparams = {"img_mean": tuple(map(int, FILL)), "interpolation": PIL.Image.BILINEAR}
        theirs = timm_policies.AugmentOp(TIMM[name], prob=1.0, magnitude=magnitude, hparams=hparams)
        ours = policies._RAND[name](torch.full((6,), magnitude / 10), torch.full((6,), sign), 24, 30)
        changed = apply_operations(images, [name], torch.zeros(6, dtype=torch.long), ours, FILL)
        for image, result in zip(images, changed, strict=True):
            expected = as_tensor(theirs(as_pillow(image)))
            difference = (result.int() - expected.int()).abs()
            if name in MOVES:
                assert float((difference > 3).float().mean()) < 0.06, (name, sign)
            else:
                # Autocontrast and equalize share one table per level, others differ by a rounding.
                assert int(difference.max()) <= 2, (name, sign)


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("place", [0, 1, 13, 22, 30])
def test_trivial_augments_operations_are_torchvisions(images: Tensor, name: str, place: int) -> None:
    transform = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)
    make, signed = transform._AUGMENTATION_SPACE[TORCHVISION[name]]
    magnitudes = make(31, 24, 30)
    for sign in (1.0, -1.0) if signed else (1.0,):
        amount = float(magnitudes[place]) * sign if magnitudes is not None else 0.0
        theirs = transform._apply_image_or_video_transform(
            images, TORCHVISION[name], amount, interpolation=v2.InterpolationMode.BILINEAR, fill=transform._fill
        )
        ours = policies._TRIVIAL[name](torch.full((6,), place / 30), torch.full((6,), sign), 24, 30)
        if name.startswith("translate"):
            ours = -ours  # torchvision moves the image, not what is taken of it
        changed = apply_operations(images, [name], torch.zeros(6, dtype=torch.long), ours, (0.0, 0.0, 0.0))
        torch.testing.assert_close(changed.int(), theirs.int(), atol=2, rtol=0)


def test_rows_are_changed_by_their_own_operation(images: Tensor) -> None:
    names = [*MOVES, *COLOURS, "identity"]
    chosen = torch.tensor([0, 4, 6, 8, len(names) - 1, -1])
    amounts = torch.tensor([0.2, 20.0, 0.0, 3.0, 9.0, 9.0])
    together = apply_operations(images, names, chosen, amounts, FILL)
    for i in range(6):
        alone = apply_operations(images[i : i + 1], names, chosen[i : i + 1], amounts[i : i + 1], FILL)
        assert torch.equal(together[i : i + 1], alone)
        assert torch.equal(together[i], images[i]) == (i > 3)


def test_how_much_and_how_often() -> None:
    """Half of the operations are carried out, all kinds alike, at magnitudes around 7."""
    seen: list[tuple[Tensor, Tensor]] = []
    monkeypatch = pytest.MonkeyPatch()
    with monkeypatch.context() as patch:
        patch.setattr(
            policies, "apply_operations", lambda images, names, chosen, amounts, fill: (seen.append((chosen, amounts)), images)[1]
        )
        policies.rand_augment(torch.zeros(9000, 3, 1, 1, dtype=torch.uint8), Draws(0, 9000), magnitude=7, deviation=0.5, fill=FILL)
        policies.trivial_augment(torch.zeros(9000, 3, 1, 1, dtype=torch.uint8), Draws(0, 9000), fill=FILL)
    assert len(seen) == 3
    for chosen, amounts in seen[:2]:
        carried_out = chosen >= 0
        assert abs(int(carried_out.sum()) - 4500) < 4 * math.sqrt(9000 / 4)
        counts = torch.bincount(chosen[carried_out], minlength=15)
        assert float((counts - 300).abs().max()) < 5 * math.sqrt(300)
        angles = amounts[chosen == list(policies._RAND).index("rotate")] / 3
        assert float(angles.abs().mean()) == pytest.approx(7, abs=0.15)
        assert float(angles.abs().std()) == pytest.approx(0.5, abs=0.1)
        assert 0.35 < float((angles > 0).float().mean()) < 0.65
    counts = torch.bincount(seen[2][0], minlength=14)
    assert float((counts - 9000 / 14).abs().max()) < 5 * math.sqrt(9000 / 14)
    bits = seen[2][1][seen[2][0] == list(policies._TRIVIAL).index("posterize")]
    assert set(bits.tolist()) == {2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}


def test_policies_draw_from_the_batch_alone(images: Tensor) -> None:
    torch.manual_seed(0)
    random.seed(0)
    state, other = torch.get_rng_state(), random.getstate()
    rows = torch.tensor([1, 4])
    for change in (
        lambda x, d: policies.rand_augment(x, d, magnitude=7, deviation=0.5, fill=FILL[: x.shape[1]]),
        lambda x, d: policies.trivial_augment(x, d, fill=FILL[: x.shape[1]]),
    ):
        whole = change(images, Draws(4, 6))
        assert torch.equal(whole[rows], change(images[rows], Draws(4, 6, rows)))
        assert not torch.equal(whole, change(images, Draws(5, 6)))
        assert change(images[:, :1], Draws(4, 6)).shape == (6, 1, 24, 30)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == other

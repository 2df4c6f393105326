"""The segmenters' loss: torch's own cross-entropy where that is defined, 0 where it is not, the same however a batch is cut."""

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resnets.segmentation import create_segmenter
from resnets.segmentation.heads import at_pixels
from resnets.segmentation.losses import Segmenting, pixel_losses, segmentation_loss
from resnets.training.engine.objective import Inputs


def example(batch: int = 3) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    outputs = {name: torch.randn(batch, 5, 6, 4, generator=generator) for name in ("out", "aux")}
    masks = torch.randint(5, (batch, 6, 4), generator=generator)
    masks[0, :3], masks[1, 0, 0] = 255, 255
    return outputs, masks


def test_equals_torchvisions_reference() -> None:
    outputs, masks = example()
    out, aux = (functional.cross_entropy(outputs[name], masks, ignore_index=255) for name in ("out", "aux"))
    torch.testing.assert_close(segmentation_loss(outputs, masks), out + 0.5 * aux)
    torch.testing.assert_close(segmentation_loss({"out": outputs["out"]}, masks), out)
    torch.testing.assert_close(segmentation_loss(outputs, masks, 0.4), out + 0.4 * aux)


def test_one_pixel_by_hand() -> None:
    logits = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    assert float(pixel_losses({"out": logits}, torch.tensor([[[0]]]))) == pytest.approx(0.126928, abs=1e-6)  # log(1 + e^-2)


def test_a_batch_that_is_ignored_throughout_gives_zero_and_zero_gradients() -> None:
    outputs, masks = example()
    logits = outputs["out"].requires_grad_()
    loss = segmentation_loss({"out": logits, "aux": outputs["aux"]}, torch.full_like(masks, 255))
    loss.backward()
    assert loss.item() == 0
    assert float(logits.grad.abs().max()) == 0


def test_a_network_trains_beside_an_ignored_batch() -> None:
    torch.manual_seed(0)
    segmenter = create_segmenter("fcn-cifar-resnet8", num_classes=3)
    outcome = Segmenting()(segmenter, Inputs(torch.randn(2, 3, 16, 16), torch.full((2, 16, 16), 255)), nullcontext)
    outcome.total.backward()
    assert outcome.losses.tolist() == [0, 0]
    assert float(outcome.measures["pixel_accuracy"]) == 0
    assert all(bool(torch.isfinite(p.grad).all()) for p in segmenter.parameters())


def test_losses_are_float32_in_low_precision() -> None:
    outputs, masks = example()
    assert segmentation_loss({name: value.bfloat16() for name, value in outputs.items()}, masks).dtype == torch.float32


class Given(nn.Module):
    """Gives logits that are its inputs."""

    def forward(self, images: Tensor, every: int = 1) -> dict[str, Tensor]:
        seen = images[..., ::every, ::every]
        return {"out": seen, "aux": seen / 2}


def test_the_objective_does_not_depend_on_how_a_batch_is_cut() -> None:
    outputs, masks = example(4)
    whole = Inputs(outputs["out"], masks)
    objective = Segmenting()
    outcome = objective(Given(), whole, nullcontext)
    parts = [objective(Given(), whole[rows], nullcontext) for rows in (slice(0, 1), slice(1, 4))]
    torch.testing.assert_close(outcome.losses, torch.cat([part.losses for part in parts]))
    torch.testing.assert_close(outcome.total, parts[0].total + parts[1].total)
    torch.testing.assert_close(outcome.measures["pixel_accuracy"], sum(part.measures["pixel_accuracy"] for part in parts))


def test_the_objective_by_arithmetic() -> None:
    outputs, masks = example()
    outcome = Segmenting(0.25)(Given(), Inputs(outputs["out"], masks, torch.tensor([1.0, 0.0, 2.0])), nullcontext)
    counted = masks != 255
    each = [
        functional.cross_entropy(logits[:, kept].T, mask[kept], reduction="sum")
        + 0.25 * functional.cross_entropy(logits[:, kept].T / 2, mask[kept], reduction="sum")
        for logits, mask, kept in zip(outputs["out"], masks, counted, strict=True)
    ]
    expected = torch.stack(each) / 24  # every pixel of 6 x 4 weighs the same, those that do not count nothing
    torch.testing.assert_close(outcome.losses, expected)
    torch.testing.assert_close(outcome.total, expected[0] + 2 * expected[2])
    right = [
        float((logits.argmax(0) == mask)[kept].float().mean())
        for logits, mask, kept in zip(outputs["out"], masks, counted, strict=True)
    ]
    assert float(outcome.measures["pixel_accuracy"]) == pytest.approx(sum(right))


def test_a_loss_of_every_second_row_and_column() -> None:
    outputs, masks = example()
    sparse = Segmenting(every=2)(Given(), Inputs(outputs["out"], masks), nullcontext)
    small = Inputs(outputs["out"][..., ::2, ::2], masks[..., ::2, ::2])
    whole = Segmenting()(Given(), small, nullcontext)
    torch.testing.assert_close(sparse.losses, whole.losses)
    torch.testing.assert_close(sparse.measures["pixel_accuracy"], whole.measures["pixel_accuracy"])


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize(("small", "large"), [((7, 5), (28, 20)), ((4, 9), (13, 31)), ((8, 8), (8, 8))])
def test_logits_of_some_rows_and_columns_are_those_of_all(small: tuple[int, int], large: tuple[int, int], every: int) -> None:
    logits = torch.randn(2, 3, *small, generator=torch.Generator().manual_seed(0), requires_grad=True)
    expected = functional.interpolate(logits, large, mode="bilinear", align_corners=False)[..., ::every, ::every]
    found = at_pixels(logits, large, every)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad((each * weights).sum(), logits)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients)
    assert at_pixels(logits.bfloat16(), large, every).dtype == torch.float32
    assert at_pixels(logits.double(), large, every).dtype == torch.float64

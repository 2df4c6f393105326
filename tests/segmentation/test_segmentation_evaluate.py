"""Evaluation of a segmenter: known answers, images of different sizes, several processes, and prediction on files."""

import json
import multiprocessing
import socket
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor

from resnets.segmentation import SegmentationResult, SegmenterSpec, create_segmenter, evaluate_segmenter, segment, write_mask
from resnets.segmentation.segmenter import Segmenter
from resnets.training.distributed import World, joined

SPEC = SegmenterSpec(network="cifar-resnet8", num_classes=3, auxiliary=False)


class Fixed(Segmenter):
    """Gives the three channels of an image as its logits, so that the answer is known."""

    def logits(self, images: Tensor) -> Tensor:
        return images


def batch(classes: list[list[int]], masks: list[list[int]], place: int) -> tuple[Tensor, Tensor, int]:
    """An image for which `Fixed` answers `classes`."""
    images = torch.nn.functional.one_hot(torch.tensor(classes), 3).permute(2, 0, 1)[None].float()
    return images, torch.tensor(masks)[None], place


BATCHES = [
    batch([[0, 0, 1], [1, 1, 2]], [[0, 0, 0], [1, 1, 255]], 0),
    batch([[1, 0]], [[1, 1]], 1),
]


def test_by_hand() -> None:
    result = evaluate_segmenter(Fixed(SPEC), BATCHES)
    assert result.confusion.tolist() == [[2, 1, 0], [1, 3, 0], [0, 0, 0]]
    assert result.per_class(("shirt", "bag")) == [
        {"label": "background", "iou": 2 / 4, "num_pixels": 3},
        {"label": "shirt", "iou": 3 / 5, "num_pixels": 4},
        {"label": "bag", "iou": None, "num_pixels": 0},
    ]
    assert result.headline() == {"mean_iou": pytest.approx(0.55), "pixel_accuracy": 5 / 7, "num_images": 2}
    assert result.score == result.mean_iou
    summary = json.loads(json.dumps(result.summary(("shirt", "bag"))))
    assert summary["absent"] == ["bag"]
    assert (summary["mean_iou"], summary["confusion"]) == (pytest.approx(0.55), result.confusion.tolist())


def test_other_numbers_of_names_are_refused() -> None:
    with pytest.raises(ValueError, match="3 class names for 3 classes, of which the first is the background"):
        SegmentationResult(torch.eye(3).long(), 1).per_class(("background", "a", "b"))


def test_logits_are_brought_to_the_masks_size() -> None:
    images, _, _ = batch([[0, 1], [2, 1]], [[0, 0]], 0)
    mask = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, 1], [2, 2, 1, 1]])[None]
    result = evaluate_segmenter(Fixed(SPEC), [(images, mask, 0)])
    assert result.mean_iou == 1


def test_flips_average_an_image_and_its_mirror_image() -> None:
    seen = []

    class Shifting(Fixed):
        def logits(self, images: Tensor) -> Tensor:
            seen.append(images)
            return torch.roll(images, 1, -1)

    images, mask, place = batch([[1, 0, 0, 0]], [[1, 0, 0, 0]], 0)
    images[:, 1] *= 3  # outweighs the background that the other way sees in its place
    evaluate_segmenter(Shifting(SPEC), [(images, mask, place)], flips=True, observe=lambda i, found, p: seen.append(found))
    assert torch.equal(seen[1], images.flip(-1))
    # Each way moves the object by one place in another direction.
    assert seen[2].tolist() == [[[0, 1, 0, 1]]]


def test_the_segmenter_stays_in_its_mode_and_nothing_is_an_error() -> None:
    segmenter = Fixed(SPEC)
    for mode in (True, False):
        evaluate_segmenter(segmenter.train(mode), BATCHES)
        assert segmenter.training is mode
    with pytest.raises(ValueError, match="no images"):
        evaluate_segmenter(segmenter, [])
    with pytest.raises(ValueError, match="no pixel of the 1 images counts"):
        evaluate_segmenter(segmenter, [batch([[0]], [[255]], 0)])
    with pytest.raises(ValueError, match="a mask has the value 3"):
        evaluate_segmenter(segmenter, [batch([[0]], [[3]], 0)])


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _evaluate(rank: int, port: int, counts: list[int], folder: str) -> None:
    import os

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(len(counts)), RANK=str(rank), LOCAL_RANK="0")
    start = sum(counts[:rank])
    with joined("cpu", 60) as world:
        assert isinstance(world, World)
        result = evaluate_segmenter(Fixed(SPEC), BATCHES[start : start + counts[rank]], world=world)
    Path(folder, str(rank)).write_text(json.dumps({**result.summary(("shirt", "bag"))}))


@pytest.mark.parametrize("counts", [[1, 1], [2, 0]])
def test_several_processes_find_what_one_does(counts: list[int], tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    port = free_port()
    started = [context.Process(target=_evaluate, args=(rank, port, counts, str(tmp_path))) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0, 0]
    expected = json.loads(json.dumps(evaluate_segmenter(Fixed(SPEC), BATCHES).summary(("shirt", "bag"))))
    assert [json.loads((tmp_path / str(rank)).read_text()) for rank in range(2)] == [expected, expected]


def test_prediction_on_files(tmp_path: Path) -> None:
    colours = np.zeros((12, 20, 3), np.uint8)
    colours[:, :5, 1], colours[:, 5:, 0] = 255, 255  # channel 1 is class 1, channel 0 the background
    PIL.Image.fromarray(colours).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    segmenter = Fixed(SPEC.updated(mean=(0.5,) * 3, std=(0.5,) * 3, size=24))
    with pytest.raises(ValueError, match="does not know its classes"):
        next(segment(segmenter, [tmp_path / "a.png"]))
    segmenter.classes = ("shirt", "bag")
    found, bad, missing = segment(segmenter, [tmp_path / name for name in ("a.png", "b.png", "c.png")])
    assert found.pixels.shape == (12, 20, 3)
    assert found.mask.tolist() == [[1] * 5 + [0] * 15] * 12
    assert found.as_json() == {
        "path": str(tmp_path / "a.png"),
        "shares": [{"label": "background", "share": 0.75}, {"label": "shirt", "share": 0.25}],
    }
    assert bad.as_json() == {"path": str(tmp_path / "b.png"), "error": "is no image in a known format"}
    assert "No such file" in missing.error

    write_mask(found.mask, tmp_path / "mask.png")
    with PIL.Image.open(tmp_path / "mask.png") as written:
        assert written.mode == "P"
        assert np.array_equal(np.asarray(written), found.mask)
        assert written.convert("RGB").getpixel((0, 0)) == (128, 0, 0)  # VOC's colour of class 1


def test_a_real_segmenter_gives_masks_of_the_images_size(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.full((30, 45, 3), 90, np.uint8)).save(tmp_path / "a.jpg")
    torch.manual_seed(0)
    for size in (None, 16):
        segmenter = create_segmenter(SPEC, size=size)
        segmenter.classes = ("shirt", "bag")
        (found,) = segment(segmenter, [tmp_path / "a.jpg"])
        assert found.mask.shape == (30, 45)
        assert sum(share for _, share in found.shares) == pytest.approx(1)
    assert create_segmenter(SPEC).network.spec.num_classes == 0


def test_several_sizes_are_averaged_at_the_masks() -> None:
    small, mask, place = batch([[1, 2]], [[1, 1, 2, 2]], 0)
    large = batch([[0, 1, 1, 2]], [[0]], 0)[0]
    weights = 3 * small, large  # the small image outweighs the large one where they differ
    assert evaluate_segmenter(Fixed(SPEC), [(weights, mask, place)]).mean_iou == 1
    weights = small, 3 * large
    assert evaluate_segmenter(Fixed(SPEC), [(weights, mask, place)]).confusion.tolist() == [[0, 0, 0], [1, 1, 0], [0, 1, 1]]
    with pytest.raises(ValueError, match="no image"):
        evaluate_segmenter(Fixed(SPEC), [((), mask, place)])

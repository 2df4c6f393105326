"""Loading scenes: boxes as torchvision's detectors take them, the same batches however they are made, and odd and bad images."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from annotated_folders import voc_object, voc_tree, voc_xml
from image_files import encoded
from torchvision.transforms.v2 import functional
from torchvision.tv_tensors import BoundingBoxes

from resnets.data.annotated.scene_loader import SceneBatch, SceneLoader
from resnets.data.annotations.objects import AnnotatedImages, Objects, Several
from resnets.data.annotations.training_boxes import to_learn
from resnets.data.annotations.voc import VocImages, open_voc
from resnets.data.errors import DataError
from resnets.data.sampling.order import WHOLE, EpochOrder, Share

SIZES = ((40, 60), (61, 37), (25, 25))
COUNT = 22


@pytest.fixture
def images(tmp_path: Path) -> VocImages:
    """Of three sizes, the last one without objects; every image has as many boxes as its number says, modulo 4."""
    stems = [f"{number:03}" for number in range(COUNT)]
    tree = voc_tree(tmp_path, dict.fromkeys(stems, ""), {"train": stems})
    random = np.random.default_rng(0)
    for number, stem in enumerate(stems):
        height, width = SIZES[number % 3]
        objects = ""
        for _ in range(number % 4):
            left, top = random.integers(1, width - 10), random.integers(1, height - 10)
            objects += voc_object("ab"[int(random.integers(2))], (left, top, left + 6, top + int(random.integers(3, 9))))
        (tree / f"Annotations/{stem}.xml").write_text(voc_xml(stem, (height, width), objects))
        (tree / f"JPEGImages/{stem}.jpg").write_bytes(encoded(height, width, number))
    return open_voc(tree, "train", name="shapes")


def loader(images: AnnotatedImages, reports: list[str], share: Share = WHOLE, batch: int = 4, **options: Any) -> SceneLoader:
    settings = {"flip": True, "workers": 0, **options}
    return SceneLoader(images, EpochOrder(len(images), batch, seed=3, share=share), report=reports.append, **settings)


def same(first: list[SceneBatch], second: list[SceneBatch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.indices, b.indices)
        and a.total == b.total
        and all(torch.equal(x, y) for x, y in zip(a.images, b.images, strict=True))
        and all(torch.equal(x[key], y[key]) for x, y in zip(a.targets, b.targets, strict=True) for key in ("boxes", "labels"))
        and torch.equal(a.draws.uniform(), b.draws.uniform())
        for a, b in zip(first, second, strict=True)
    )


def test_images_and_boxes_are_what_torchvisions_are(images: VocImages, reports: list[str]) -> None:
    made = loader(images, reports)
    assert made.classes == ("a", "b")
    mirrored = 0
    for batch in made.epoch(0):
        assert batch.total == 4
        assert batch.weights is None
        for image, target, index in zip(batch.images, batch.targets, batch.indices.tolist(), strict=True):
            decoded = np.array(PIL.Image.open(io.BytesIO(images.read(index))))
            expected = functional.to_dtype(functional.to_image(decoded), torch.float32, scale=True)
            objects = images.objects(index)
            boxes = BoundingBoxes(objects.boxes, format="XYXY", canvas_size=decoded.shape[:2])  # type: ignore[call-overload]
            if not torch.allclose(image, expected, rtol=0, atol=1e-7):
                expected, boxes = functional.horizontal_flip(expected), functional.horizontal_flip(boxes)
                mirrored += 1
            torch.testing.assert_close(image, expected, rtol=0, atol=1e-7)
            assert torch.equal(target["boxes"], torch.as_tensor(boxes).float())
            assert target["labels"].tolist() == [label + 1 for label in objects.labels]
            assert target["boxes"].dtype == torch.float32
            assert target["labels"].dtype == torch.int64
            assert target["boxes"].shape == (index % 4, 4)
    assert 4 <= mirrored <= 16
    plain = loader(images, reports, flip=False)
    assert all(
        torch.equal(target["boxes"], torch.from_numpy(images.objects(index).boxes))
        for batch in plain.epoch(0)
        for target, index in zip(batch.targets, batch.indices.tolist(), strict=True)
    )


def test_neither_workers_nor_memory_change_a_batch(images: VocImages, reports: list[str]) -> None:
    base = loader(images, reports, memory="off")
    others = [
        loader(images, reports, memory="on"),
        loader(images, reports, workers=3),
        loader(images, reports, workers=2, memory="off"),
    ]
    for epoch in (0, 1):
        assert len(list(base.epoch(epoch))) == 5
        for other in others:
            assert same(list(base.epoch(epoch)), list(other.epoch(epoch)))
    assert not same(list(base.epoch(0)), list(base.epoch(1)))
    for other in others:
        other.close()
    assert same(list(base.epoch(1)), list(others[1].epoch(1)))
    others[1].close()


def test_kept_images_are_read_once_and_not_changed(images: VocImages, reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    once = VocImages.read
    monkeypatch.setattr(VocImages, "read", lambda self, index: read.append(index) or once(self, index))
    made = loader(images, reports, memory="on", batch=11)
    first = list(made.epoch(0))
    for batch in first:
        for image in batch.images:
            image.zero_()
    again = list(made.epoch(0))
    assert sorted(read) == list(range(COUNT))
    assert all(image.max() > 0.2 for batch in again for image in batch.images)
    assert any("kept in memory" in line for line in reports)
    monkeypatch.setattr("resnets.data.annotated.scene_pixels.free_memory", lambda: 1000)
    tight = loader(images, reports, memory="auto", batch=11)
    read.clear()
    assert same(again, list(tight.epoch(0)))
    list(tight.epoch(0))
    assert len(read) == 2 * COUNT
    assert "decoded each time; 0.1 MB of pixels are more than a quarter of the 0.0 MB free" in reports[-1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_its_middle_and_can_be_left_early(workers: int, images: VocImages, reports: list[str]) -> None:
    made = loader(images, reports, workers=workers)
    whole = list(made.epoch(2))
    early = made.epoch(0)
    next(early)
    early.close()  # type: ignore[attr-defined]
    assert same(list(loader(images, reports).epoch(2, first_step=3)), list(made.epoch(2, first_step=3)))
    rest = list(made.epoch(2, first_step=3))
    assert all(torch.equal(x, y) for a, b in zip(whole[3:], rest, strict=True) for x, y in zip(a.images, b.images, strict=True))
    made.close()


def test_two_processes_make_the_batches_of_one(images: VocImages, reports: list[str]) -> None:
    whole = list(loader(images, reports, batch=5).epoch(1))
    parts = [list(loader(images, reports, Share(rank, 2), batch=5).epoch(1)) for rank in (0, 1)]
    for batch, *halves in zip(whole, *parts, strict=True):
        joined = [image for half in halves for image in half.images]
        assert all(torch.equal(x, y) for x, y in zip(batch.images, joined, strict=True))
        assert [target["boxes"].tolist() for target in batch.targets] == [
            t["boxes"].tolist() for half in halves for t in half.targets
        ]
        assert [half.total for half in halves] == [5, 5]
        assert batch.draws.uniform().tolist() == [value for half in halves for value in half.draws.uniform().tolist()]


def test_evaluation_sees_each_image_once_as_it_is(images: VocImages, reports: list[str]) -> None:
    places: list[int] = []
    for rank in (0, 1, 2):
        own: list[int] = []
        for tensors, numbers in loader(images, reports, Share(rank, 3), workers=rank).in_order():
            assert len(tensors) == len(numbers)
            own += numbers
            for tensor, number in zip(tensors, numbers, strict=True):
                decoded = np.asarray(PIL.Image.open(io.BytesIO(images.read(number))))
                assert torch.equal(tensor, torch.from_numpy(decoded.copy()).permute(2, 0, 1).float() / 255)
        assert len(own) in (7, 8)
        places += own
    assert places == list(range(COUNT))


def changed(images: VocImages, number: int, content: bytes) -> None:
    (images.root / images.paths[number]).write_bytes(content)


def saved(image: PIL.Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_bad_images_are_named_once_and_leave_the_rest_as_it_is(images: VocImages, reports: list[str]) -> None:
    good = list(loader(images, reports).epoch(0))
    changed(images, 5, images.read(5)[:300])
    changed(images, 9, b"")
    (images.root / images.paths[12]).unlink()
    reports.clear()
    made = loader(images, reports, max_unreadable=0.2, workers=2)
    for _ in range(2):
        found = list(made.epoch(0))
        for whole, part in zip(good, found, strict=True):
            kept = [row for row, index in enumerate(whole.indices.tolist()) if index not in (5, 9, 12)]
            assert part.indices.tolist() == whole.indices[kept].tolist()
            assert part.total == 4
            assert len(part.draws) == len(kept)
            assert all(torch.equal(whole.images[row], image) for row, image in zip(kept, part.images, strict=True))
    assert [number for _, numbers in made.in_order() for number in numbers] == [n for n in range(COUNT) if n not in (5, 9, 12)]
    lines = [line for line in reports if "is left out" in line]
    assert len(lines) == 3
    assert any("JPEGImages/009.jpg is left out, is empty" in line for line in lines)
    assert any("JPEGImages/012.jpg is left out, cannot be read: No such file" in line for line in lines)
    made.close()
    with pytest.raises(
        DataError, match=r"more of them than max_unreadable=0.1 allows .*repair or remove them, or raise --max-unreadable"
    ):
        list(loader(images, reports, max_unreadable=0.1).in_order())
    for number in range(COUNT):
        changed(images, number, b"")
    with pytest.raises(DataError, match="none of the 4 images of a batch can be read"):
        list(loader(images, reports, max_unreadable=1.0).epoch(0))


def test_odd_images_become_rgb(images: VocImages, reports: list[str]) -> None:
    colours = PIL.Image.open(io.BytesIO(encoded(40, 60, 1)))
    changed(images, 0, saved(colours.convert("L")))
    changed(images, 3, saved(colours.convert("CMYK")))
    changed(images, 6, saved(colours.convert("RGBA"), "PNG"))
    changed(images, 9, saved(colours.quantize(16), "PNG"))
    found = [tensor for batch, _ in loader(images, reports).in_order() for tensor in batch]
    assert all(tensor.shape == (3, 40, 60) for tensor in found[:12:3])
    assert torch.equal(found[0][0], found[0][2])
    expected = torch.from_numpy(np.array(colours.convert("CMYK").convert("RGB"))).permute(2, 0, 1) / 255
    assert (found[3] - expected).abs().mean() < 0.02
    tiny = saved(PIL.Image.new("RGB", (1, 1), (255, 0, 0)), "PNG")
    changed(images, 0, tiny)
    assert next(loader(images, reports).in_order())[0][0].flatten().tolist() == [1, 0, 0]


def test_boxes_fit_where_a_camera_turned_the_image(images: VocImages, reports: list[str]) -> None:
    """Boxes were drawn on the image as a viewer shows it, or as it is stored: the size that is annotated tells which."""
    image = PIL.Image.open(io.BytesIO(encoded(40, 60, 1)))
    for orientation in (5, 6, 7, 8):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        # Image 0 is annotated as 40 x 60, image 1 as 61 x 37.
        changed(images, 0, saved(image, exif=exif))
        changed(images, 1, saved(image.resize((61, 37)), exif=exif))
        first, second = next(loader(images, reports).in_order())[0][:2]
        assert first.shape == (3, 40, 60)
        plain = np.asarray(PIL.Image.open(io.BytesIO(images.read(0))))
        assert torch.equal(first, torch.from_numpy(plain.copy()).permute(2, 0, 1) / 255)
        assert second.shape == (3, 61, 37)


def test_which_boxes_are_learnt_from() -> None:
    objects = Objects.of(
        [[1, 2, 5, 6], [5, 2, 1, 6], [3, 3, 3, 9], [-4, -2, 10, 8], [50, 30, 70, 45], [61, 5, 70, 9], [0, 0, 9, 9], [0, 0, 8, 8]],
        [0, 1, 2, 3, 4, 5, 6, 7],
        crowd=[False] * 6 + [True, False],
        difficult=[False] * 7 + [True],
    )  # fmt: skip
    found = to_learn(objects, (40, 60))
    assert found.boxes.tolist() == [[1, 2, 5, 6], [0, 0, 10, 8], [50, 30, 60, 40]]
    assert found.labels.tolist() == [0, 3, 4]
    assert len(to_learn(Objects.of([], []), (40, 60))) == 0
    with pytest.raises(ValueError, match="the box 1 nan 3 4 of object 0"):
        Objects.of([[1, float("nan"), 3, 4]], [0])


def test_what_is_done_to_boxes_is_said_once(images: VocImages, reports: list[str]) -> None:
    objects = (
        voc_object("a", (9, 9, 3, 20)) + voc_object("a", (5, 5, 95, 20)) + voc_object("b", (2, 2, 9, 9), "<difficult>1</difficult>")
    )
    (images.root / "Annotations/000.xml").write_text(voc_xml("000", (40, 60), objects))
    opened = open_voc(images.root, "train", name="shapes")
    made = loader(opened, reports)
    list(made.epoch(0))
    list(made.epoch(1))
    assert [line for line in reports if "without an area" in line] == [
        "shapes train: 1 box is without an area left out (JPEGImages/000.jpg: 8 8 3 20); resnets data check lists all"
    ]
    assert [line for line in reports if "cut off" in line] == [
        "shapes train: 1 box is cut off at the image's edge (JPEGImages/000.jpg: 4 4 95 20); resnets data check lists all"
    ]
    kept = sum(number % 4 for number in range(COUNT)) + 1
    assert f"{kept} objects of 2 classes in 22 images, 5 of them without any; not learnt from: 1 difficult" in reports[2]
    assert len(made.tally.degenerate) == 1
    boxes = [
        t["boxes"].tolist()
        for b in loader(opened, reports, flip=False).epoch(0)
        for t, i in zip(b.targets, b.indices, strict=True)
        if i == 0
    ]
    assert boxes in ([], [[[4, 4, 60, 20]]])


def test_an_image_of_another_size_than_annotated_is_reported(images: VocImages, reports: list[str]) -> None:
    for number in range(COUNT):
        changed(images, number, encoded(30, 30, number))
    made = loader(images, reports, batch=22)
    (batch,) = made.epoch(0)
    list(made.epoch(0))
    assert sum("its annotation says" in line for line in reports) == COUNT
    assert any("000.jpg has 30 x 30 pixels and its annotation says 60 x 40" in line for line in reports)
    assert all(float(target["boxes"].max()) <= 30 for target in batch.targets if len(target["boxes"]))


def test_an_order_of_another_number_is_refused(images: VocImages, reports: list[str]) -> None:
    with pytest.raises(DataError, match="the order is of 9 images, and shapes train has 22"):
        SceneLoader(images, EpochOrder(9, 3, seed=0), report=reports.append)
    with pytest.raises(ValueError, match="different classes"):
        Several("both", "train", ())

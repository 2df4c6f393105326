"""COCO's layout: boxes by hand and as torchvision reads them, masks as pycocotools draws them, and broken files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated_folders import annotation, coco_content, coco_folder
from torchvision.datasets import CocoDetection

from resnets.data.annotated import open_annotated
from resnets.data.annotations.coco import object_mask, open_coco
from resnets.data.annotations.polygons import inside_polygons
from resnets.data.annotations.rle import compressed, from_run_lengths, run_lengths, uncompressed
from resnets.data.errors import DataError

SQUARE = [[10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]]
CROWD = {"size": [40, 60], "counts": [0, 80, 40 * 60 - 80]}


def content() -> dict[str, Any]:
    return coco_content(
        ["a.jpg", "b.jpg"],
        [
            annotation(7, 20, (10, 5, 20, 20), 18, segmentation=SQUARE, area=400.5),
            annotation(8, 10, (1.5, 2, 3, 4)),
            annotation(9, 20, (0, 0, 2, 40), 44, segmentation=CROWD, iscrowd=1),
        ],
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return coco_folder(tmp_path / "coco", {"train": content(), "val": content()})


def test_numbers_with_gaps_become_labels_and_lead_back(folder: Path, reports: list[str]) -> None:
    images = open_coco(folder, "val")
    assert images.classes == ("person", "dog", "bottle")
    assert images.category_ids == (1, 18, 44)
    assert images.image_ids == (10, 20)
    assert images.annotation_ids.tolist() == [8, 7, 9]
    first, second = images.objects(0), images.objects(1)
    assert first.boxes.tolist() == [[1.5, 2, 4.5, 6]]
    assert second.boxes.tolist() == [[10, 5, 30, 25], [0, 0, 2, 40]]
    assert [images.category_ids[label] for label in second.labels] == [18, 44]
    assert second.crowd.tolist() == [False, True]
    assert second.areas.tolist() == [400.5, 5]
    assert images.name_of(0) == "val2017/a.jpg"
    assert len(open_annotated("coco", "train", folder, reports.append)) == 2
    with pytest.raises(ValueError, match="not public"):
        open_annotated("coco", "test", folder, reports.append)


def test_as_torchvision_reads_it(folder: Path) -> None:
    pytest.importorskip("pycocotools")
    ours = open_coco(folder, "val")
    theirs = CocoDetection(str(folder / "val2017"), str(folder / "annotations/instances_val2017.json"))
    for index in range(len(theirs)):
        image, targets = theirs[index]
        assert ours.size_of(index) == (image.height, image.width)
        boxes = np.array([entry["bbox"] for entry in targets], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_array_equal(ours.objects(index).boxes, boxes)
        assert [ours.category_ids[label] for label in ours.objects(index).labels] == [entry["category_id"] for entry in targets]


def test_masks_of_classes(folder: Path) -> None:
    mask = open_coco(folder, "val").mask(1)
    assert mask.shape == (40, 60)
    # A crowd of bottles (class 3) fills the first two columns, the dog (2) its square.
    assert (mask[:, :2] == 3).all()
    assert (mask[5:25, 10:30] == 2).all()
    assert int((mask > 0).sum()) == 80 + 400
    with pytest.raises(ValueError, match=r"object 0 of val2017/a\.jpg has a box and no mask"):
        open_coco(folder, "val").mask(0)


def test_overlapping_masks_are_ignored(folder: Path) -> None:
    changed = content()
    changed["annotations"][1] = annotation(8, 20, (20, 5, 20, 10), segmentation=[[20, 5, 40, 5, 40, 15, 20, 15]])
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(changed))
    mask = open_coco(folder, "val").mask(1)
    assert (mask[5:15, 20:30] == 255).all()
    assert (mask[5:15, 30:40] == 1).all()
    assert int((mask == 255).sum()) == 100


def test_run_lengths_are_pycocotools() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(0)
    for height, width in ((1, 1), (7, 5), (40, 60), (300, 41)):
        for share in (0.0, 0.03, 0.5, 1.0):
            mask = np.kron(random.random((height, width)) < share, np.ones((3, 2))).astype(bool)
            lengths = run_lengths(mask)
            text = compressed(lengths)
            assert text == tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
            assert uncompressed(text) == lengths
            assert np.array_equal(from_run_lengths(lengths, mask.shape), mask)  # type: ignore[arg-type]
            assert np.array_equal(object_mask({"size": list(mask.shape), "counts": text}, mask.shape), mask)  # type: ignore[arg-type]


def test_polygons_are_pycocotools() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    random = np.random.default_rng(1)
    size = (37, 52)
    for trial in range(300):
        corners = random.integers(3, 12)
        polygon = random.uniform(-8, 60, 2 * corners)
        polygon = [np.round(polygon, 2), np.round(polygon), np.round(polygon * 2) / 2, np.round(polygon, 1)][trial % 4]
        if trial % 5 == 0:
            polygon[-2:] = polygon[:2]  # closed, as some tools write them
        theirs = tools.decode(tools.frPyObjects([polygon.tolist()], *size))[..., 0].astype(bool)
        assert np.array_equal(inside_polygons([polygon], size), theirs), polygon.tolist()
    both = [np.array([1.0, 1, 9, 1, 9, 9]), np.array([20.0, 20, 30, 20, 30, 30])]
    merged = tools.decode(tools.merge(tools.frPyObjects([part.tolist() for part in both], *size))).astype(bool)
    assert np.array_equal(inside_polygons(both, size), merged)


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        ([[1, 2, 3, 4]], "4 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "nowhere near"),
        ({"size": [40, 61], "counts": [2440]}, "40 x 61"),
        ({"size": [40, 60], "counts": [5, 5]}, "run lengths of 10 pixels"),
        ({"size": [40, 60], "counts": [2500, -100]}, "run lengths"),
        ({"size": [40, 60], "counts": "\x01"}, "does not occur"),
        ({"size": [40, 60], "counts": "P"}, "end within"),
        ({"counts": [2400]}, "size"),
    ],
)  # fmt: skip
def test_broken_masks_are_refused_by_name(folder: Path, segmentation: Any, says: str) -> None:
    changed = content()
    changed["annotations"][0]["segmentation"] = segmentation
    (folder / "annotations/instances_val2017.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match=says) as error:
        open_coco(folder, "val").mask(1)
    assert "val2017/b.jpg" in str(error.value)


def broken(change: Any) -> str:
    made = content()
    change(made)
    return json.dumps(made)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"images": [', "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "needs lists images, annotations, categories"),
        (broken(lambda c: c.pop("annotations")), "needs lists"),
        (broken(lambda c: c["images"].clear()), "lists no images"),
        (broken(lambda c: c["images"][0].pop("file_name")), "an entry 'file_name' is missing"),
        (broken(lambda c: c["images"][1].update(id=10)), "two images have the number 10, b.jpg"),
        (broken(lambda c: c["categories"][1].update(id=1)), "two categories have the same number"),
        (broken(lambda c: c["annotations"][1].update(category_id=5)), r"annotation 8 of a\.jpg is of category 5"),
        (broken(lambda c: c["annotations"][1].update(bbox=[1, 2, float("nan"), 4])), r"a\.jpg: the box \[1, 2, nan, 4\]"),
        (broken(lambda c: c["annotations"][1].update(bbox=[1, 2, 3])), r"a\.jpg: the box \[1, 2, 3\] is no four numbers"),
        (broken(lambda c: c["annotations"][1].update(bbox=None)), r"a\.jpg: the box None"),
        (broken(lambda c: c["annotations"][1].update(area="big")), "the area 'big'"),
        (broken(lambda c: c["annotations"][1].update(segmentation=[["x"]])), "is no annotation file of COCO"),
    ],
)  # fmt: skip
def test_broken_files_are_refused_by_name(folder: Path, text: str, says: str) -> None:
    (folder / "annotations/instances_val2017.json").write_text(text)
    with pytest.raises(DataError, match=says):
        open_coco(folder, "val")


def test_annotations_of_unlisted_images_are_passed_over(folder: Path, reports: list[str]) -> None:
    (folder / "annotations/instances_val2017.json").write_text(broken(lambda c: c["annotations"][1].update(image_id=99)))
    images = open_annotated(str(folder), "val", None, reports.append)
    assert len(images.objects(0)) == 0
    assert "1 annotations are of images that are not listed" in reports[0]


def test_other_places(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no annotations of test"):
        open_coco(folder, "test")
    (folder / "annotations/instances_val2014.json").write_text(json.dumps(content()))
    with pytest.raises(DataError, match=r"several annotation files for val: instances_val2014\.json, instances_val2017\.json"):
        open_coco(folder, "val")
    assert len(open_annotated("coco", "val", folder, print)) == 2
    exported = tmp_path / "exported"
    (exported / "valid").mkdir(parents=True)
    (exported / "valid/_annotations.coco.json").write_text(json.dumps(content()))
    (exported / "valid/a.jpg").write_bytes(b"x")
    assert open_coco(exported, "val").read(0) == b"x"
    (folder / "train2017/a.jpg").unlink()
    with pytest.raises(DataError, match=r"the image a\.jpg of instances_train2017\.json is in none of train2017/"):
        open_coco(folder, "train")

"""PASCAL VOC's layout: boxes by hand and as torchvision reads them, the published lists, and hostile files."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from annotated_folders import voc_object, voc_tree, voc_xml
from image_files import encoded
from torchvision.datasets import VOCDetection

from resnets.data.annotated import open_annotated
from resnets.data.annotations import AnnotatedImages
from resnets.data.annotations.masks import decoded_mask, encoded_mask, voc_palette
from resnets.data.annotations.voc import VOC_CLASSES, open_voc, parse_annotation
from resnets.data.errors import DataError

DOG, CAT = voc_object("dog", (1, 1, 60, 40)), voc_object("cat", (11, 5, 20, 12), "<difficult>1</difficult>")
PERSON = voc_object(
    "person", (30.4, 7, 44.6, 31),
    "<part><name>head</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></part>",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return voc_tree(
        tmp_path, {"000001": DOG + CAT, "000002": PERSON, "000003": ""}, {"train": ["000001"], "val": ["000002", "000003"]}
    )  # fmt: skip


def test_corners_become_edges_and_labels_places(tree: Path, reports: list[str]) -> None:
    images = open_annotated(str(tree), "train", None, reports.append)
    assert isinstance(images, AnnotatedImages)
    assert images.classes == ("cat", "dog", "person")  # of every annotation, whatever its split
    found = images.objects(0)
    assert found.boxes.tolist() == [[0, 0, 60, 40], [10, 4, 20, 12]]
    assert found.boxes.dtype == np.float32
    assert found.labels.tolist() == [1, 0]
    assert found.difficult.tolist() == [False, True]
    assert found.areas.tolist() == [2400, 80]
    assert not found.crowd.any()
    assert images.size_of(0) == (40, 60)
    assert images.name_of(0) == "JPEGImages/000001.jpg"
    assert images.read(0) == (tree / "JPEGImages/000001.jpg").read_bytes()


def test_parts_have_boxes_of_their_own_and_images_may_be_empty(tree: Path) -> None:
    images = open_voc(tree, "val")
    np.testing.assert_allclose(images.objects(0).boxes, [[29.4, 6, 44.6, 31]], rtol=1e-6)
    assert images.objects(1).boxes.shape == (0, 4)
    assert len(images) == 2


def test_as_torchvision_reads_it(tree: Path) -> None:
    ours = open_voc(tree, "val")
    theirs = VOCDetection(str(tree.parents[1]), year="2007", image_set="val")
    assert len(ours) == len(theirs)
    for index in range(len(ours)):
        target = theirs[index][1]["annotation"]
        assert ours.name_of(index).endswith(target["filename"])
        boxes = [[float(entry["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax")] for entry in target.get("object", [])]
        stated = np.array(boxes, np.float32).reshape(-1, 4) - (1, 1, 0, 0)
        np.testing.assert_allclose(ours.objects(index).boxes, stated, rtol=1e-6)


def test_a_size_that_is_not_stated_is_the_files(tree: Path) -> None:
    (tree / "JPEGImages/000003.jpg").write_bytes(encoded(31, 17, 5))
    for size in (None, (0, 0)):
        (tree / "Annotations/000003.xml").write_text(voc_xml("000003", size, ""))
        assert open_voc(tree, "val").size_of(1) == (31, 17)


def test_classes_can_be_named(tree: Path) -> None:
    (tree / "classes.txt").write_text("person\ndog\ncat\n\nbird\n")
    assert open_voc(tree, "train").objects(0).labels.tolist() == [1, 2]
    (tree / "classes.txt").write_text("person\ncat\n")
    with pytest.raises(DataError, match=r"000001\.jpg: an object is called 'dog', and the classes are person, cat"):
        open_voc(tree, "train")


def test_the_protocols_by_name(tmp_path: Path, reports: list[str]) -> None:
    one, two = {"a": DOG, "b": DOG, "c": CAT}, {"d": DOG, "e": PERSON}
    seven = voc_tree(tmp_path, one, {"train": ["a"], "val": ["b"], "trainval": ["a", "b"], "test": ["c"]})
    voc_tree(tmp_path, two, {"train": ["d"], "val": ["e"], "trainval": ["d", "e"]}, "VOC2012")

    def stems(data: str, split: str) -> str:
        images = open_annotated(data, split, tmp_path, reports.append)
        assert images.classes == VOC_CLASSES
        return "".join(Path(images.name_of(index)).stem for index in range(len(images)))

    assert [stems("voc07", split) for split in ("train", "val", "test")] == ["ab", "c", "c"]
    assert [stems("voc12", split) for split in ("train", "val")] == ["d", "e"]
    assert [stems("voc0712", split) for split in ("train", "val", "test")] == ["abde", "c", "c"]
    joined = open_annotated("voc0712", "train", tmp_path, reports.append)
    assert joined.objects(3).labels.tolist() == [VOC_CLASSES.index("person")]
    assert joined.read(2) == (tmp_path / "VOCdevkit/VOC2012/JPEGImages/d.jpg").read_bytes()
    with pytest.raises(IndexError):
        joined.objects(4)
    with pytest.raises(ValueError, match="not public"):
        open_annotated("voc12", "test", tmp_path, reports.append)
    assert not reports
    (seven / "ImageSets/Main/test.txt").unlink()
    assert [stems("voc07", split) for split in ("train", "val")] == ["a", "b"]
    assert "holds no test" in reports[0]


def test_masks_are_those_that_are_listed(tree: Path) -> None:
    with pytest.raises(DataError, match="no mask"):
        open_voc(tree, "train").mask(0)
    (tree / "ImageSets/Segmentation").mkdir()
    (tree / "SegmentationClass").mkdir()
    (tree / "ImageSets/Segmentation/val.txt").write_text("000003\n")
    drawn = np.zeros((40, 60), np.uint8)
    drawn[3:9, 4:20], drawn[9, 4:20] = 2, 255
    (tree / "SegmentationClass/000003.png").write_bytes(encoded_mask(drawn))
    images = open_voc(tree, "val", masks=True)
    assert len(images) == 1
    assert np.array_equal(images.mask(0), drawn)
    drawn[0, 0] = 4
    (tree / "SegmentationClass/000003.png").write_bytes(encoded_mask(drawn))
    with pytest.raises(DataError, match="class 4, and there are 3"):
        images.mask(0)


def test_the_palette_and_masks_in_its_colours(tmp_path: Path) -> None:
    palette = voc_palette()
    # VOC's own table: aeroplane, bicycle, person, void.
    assert palette[[1, 2, 15, 255]].tolist() == [[128, 0, 0], [0, 128, 0], [192, 128, 128], [224, 224, 192]]
    assert len({tuple(colour) for colour in palette.tolist()}) == 256
    mask = np.array([[0, 1], [20, 255]], np.uint8)
    assert decoded_mask(encoded_mask(mask), "m").tolist() == mask.tolist()
    PIL.Image.fromarray(palette[mask]).save(tmp_path / "m.png")
    assert decoded_mask((tmp_path / "m.png").read_bytes(), "m").tolist() == mask.tolist()
    PIL.Image.fromarray(np.full((2, 2, 3), 77, np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m.png has the colour \[77, 77, 77\]"):
        decoded_mask((tmp_path / "m.png").read_bytes(), "m.png")
    with pytest.raises(DataError, match=r"m.png cannot be read"):
        decoded_mask(encoded_mask(mask)[:60], "m.png")


BOMB = "<!DOCTYPE a [<!ENTITY x0 'ha'>" + "".join(f"<!ENTITY x{k + 1} '{f'&x{k};' * 10}'>" for k in range(9)) + "]>"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (BOMB + "<annotation><object><name>&x9;</name></object></annotation>", "declares a document type"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><annotation/>", "declares a document type"),
        ("<annotation><object>", "is no XML"),
        ("", "is no XML"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "no XML|unknown encoding"),
        (voc_xml("a", None, voc_object("dog", ("nan", 1, 5, 5))), "not finite: nan 1 5 5"),
        (voc_xml("a", None, voc_object("dog", (1, 1, "1e999", 5))), "not finite: 1 1 inf 5"),
        (voc_xml("a", None, voc_object("dog", ("one", 1, 5, 5))), "box of a dog is not four numbers: one 1 5 5"),
        (voc_xml("a", None, "<object><name>dog</name></object>"), "box of a dog is not four numbers"),
        (voc_xml("a", None, voc_object("", (1, 1, 5, 5))), "an object has no name"),
    ],
)  # fmt: skip
def test_hostile_and_broken_files_are_refused_by_name(content: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        parse_annotation(content.encode(), "Annotations/a.xml")
    assert "Annotations/a.xml" in str(error.value)
    with pytest.raises(DataError):
        parse_annotation(content.encode("utf-16"), "Annotations/a.xml")


def test_what_is_missing_is_named(tree: Path, reports: list[str]) -> None:
    with pytest.raises(DataError, match=r"no list test\.txt"):
        open_voc(tree, "test")
    (tree / "ImageSets/Main/val.txt").write_text("000002\n000002\n")
    with pytest.raises(DataError, match="names 000002 twice"):
        open_voc(tree, "val")
    (tree / "ImageSets/Main/val.txt").write_text("000002\n000009\n")
    with pytest.raises(DataError, match="lacks 1 images of val, 000009"):
        open_voc(tree, "val")
    (tree / "ImageSets/Main/val.txt").write_text("000002 -1\n")
    assert len(open_voc(tree, "val")) == 1
    (tree / "Annotations/000002.xml").unlink()
    with pytest.raises(DataError, match=r"no annotation .*000002\.xml"):
        open_voc(tree, "val")
    with pytest.raises(DataError, match="lacks VOC2012"):
        open_annotated("voc12", "val", tree.parents[1], reports.append)
    with pytest.raises(DataError, match="in neither layout"):
        open_annotated(str(tree / "JPEGImages"), "val", None, reports.append)
    with pytest.raises(ValueError, match="did you mean 'voc07'"):
        open_annotated("voc7", "val", None, reports.append)

"""`resnets data check` on annotated data: every mistake named with its image and numbers, and nothing where nothing is wrong."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from annotated_folders import annotation, coco_content, coco_folder, voc_object, voc_tree, voc_xml
from image_files import encoded

from resnets.cli import main
from resnets.data.annotations.masks import encoded_mask
from resnets.data.doctor.annotations import box_kind, check_annotated
from resnets.data.doctor.findings import KINDS, Checkup
from resnets.data.doctor.stated import StatedBox
from resnets.data.errors import DataError

GOOD = voc_object("dog", (1, 1, 60, 40)) + voc_object("cat", (11, 5, 20, 12))


def kinds(checkup: Checkup) -> dict[str, list[tuple[str, str]]]:
    """Names and details by kind."""
    return {kind: [(finding.names[0], finding.detail) for finding in found] for kind, found in checkup.by_kind().items()}


@pytest.fixture
def sick_voc(tmp_path: Path) -> Path:
    stems = [f"{number:02}" for number in range(16)]
    tree = voc_tree(tmp_path / "pets", dict.fromkeys(stems, GOOD), {"train": [*stems[:12], "03", "77"], "val": stems[12:]})
    (tree / "classes.txt").write_text("cat\ndog\n")

    def write(stem: str, objects: str, size: tuple[int, int] | None = (40, 60)) -> None:
        (tree / f"Annotations/{stem}.xml").write_text(voc_xml(stem, size, objects))

    write("00", voc_object("dog", (30, 5, 10, 20)))
    write("01", voc_object("dog", (30, 5, 29, 20)))
    write("02", voc_object("cat", (5, 5, 70, 20)))
    write("03", "")
    write("04", GOOD, (400, 600))
    write("05", voc_object("dgo", (1, 1, 9, 9)))
    write("06", voc_object("dog", ("nan", 1, 9, 9)))
    (tree / "Annotations/07.xml").write_text("<annotation><obj")
    (tree / "Annotations/08.xml").unlink()
    (tree / "JPEGImages/09.jpg").unlink()
    (tree / "JPEGImages/10.jpg").write_bytes(b"")
    write("11", voc_object("dog", (7, 7, 7, 20)))
    (tree / "ImageSets/Segmentation").mkdir()
    (tree / "SegmentationClass").mkdir()
    (tree / "ImageSets/Segmentation/val.txt").write_text("12\n13\n14\n15\n")
    mask = np.zeros((40, 60), np.uint8)
    mask[0, 0] = 255
    (tree / "SegmentationClass/12.png").write_bytes(encoded_mask(mask))
    (tree / "SegmentationClass/13.png").write_bytes(encoded_mask(mask + np.uint8(3) * (mask == 0)))
    (tree / "SegmentationClass/14.png").write_bytes(encoded_mask(mask[:20]))
    return tmp_path / "pets"


def test_every_mistake_in_vocs_layout(sick_voc: Path) -> None:
    checkup, sources = check_annotated(sick_voc, workers=0)
    assert [(source.split, len(source)) for source in sources] == [("train", 11), ("val", 4)]
    assert checkup.by_split == {"train": 13, "val": 4}
    assert checkup.classes == ("cat", "dog")
    assert checkup.counts["val"] == (4, 4)
    found, below = kinds(checkup), "VOCdevkit/VOC2007/"
    images = f"{below}JPEGImages/"
    assert found["box-inverted"] == [(f"{images}00.jpg", "dog: xmin ymin xmax ymax 30 5 10 20")]
    assert found["box-degenerate"] == [(f"{images}01.jpg", "dog: xmin ymin xmax ymax 30 5 29 20")]
    assert found["box-outside"] == [(f"{images}02.jpg", "cat: xmin ymin xmax ymax 5 5 70 20 in an image of 60 x 40")]
    assert found["box-thin"] == [(f"{images}11.jpg", "dog: xmin ymin xmax ymax 7 7 7 20")]
    assert found["size-differs"] == [(f"{images}04.jpg", "the annotation says 600 x 400, the file has 60 x 40")]
    assert found["category-unknown"] == [(f"{images}05.jpg", "dgo, which the tree's list of classes does not name")]
    assert [name for name, _ in found["annotation-broken"]] == [f"{images}06.jpg", f"{images}07.jpg"]
    assert "nan 1 9 9" in found["annotation-broken"][0][1]
    assert found["annotation-missing"][0] == (f"{images}08.jpg", f"no {below}Annotations/08.xml")
    assert [name for name, _ in found["image-missing"]] == [f"{images}09.jpg", f"{images}77.jpg"]
    assert found["id-duplicate"] == [(f"{images}03.jpg", "listed twice in train.txt")]
    assert (f"{images}03.jpg", "") in found["no-objects"]
    assert [name for name, _ in found["empty"]] == [f"{images}10.jpg"]
    assert found["mask-missing"] == [(f"{below}SegmentationClass/15.png", "")]
    assert found["mask-broken"] == [
        (f"{below}SegmentationClass/13.png", "it has class 3, and there are 2"),
        (f"{below}SegmentationClass/14.png", "it has 60 x 20 pixels, the image 60 x 40"),
    ]
    assert not {"class-missing", "contradiction"} & set(found)
    for name in ("05", "06", "07", "08", "09", "10"):
        assert f"{images}{name}.jpg" in checkup.exclusions


def sick_content() -> dict[str, Any]:
    made = coco_content(
        [f"{number}.jpg" for number in range(6)],
        [
            annotation(1, 10, (5, 5, 0, 9), 18),
            annotation(2, 10, (5, 5, -3, 9), 18),
            annotation(3, 20, (50, 5, 30, 9)),
            annotation(4, 20, (1, 2, 5, float("nan"))),
            annotation(5, 30, (1, 2, 5, 6), 7),
            annotation(6, 40, (1, 2, 5, 6), segmentation=[[1, 2, 3]]),
            annotation(6, 50, (1, 2, 5, 6), segmentation={"size": [4, 6], "counts": "0"}),
            annotation(7, 990, (1, 2, 5, 6)),
        ],
    )  # fmt: skip
    made["images"][5].update(id=10)
    return made


def test_every_mistake_in_cocos_layout(tmp_path: Path) -> None:
    clean = coco_content(["v.jpg"], [annotation(1, 10, (1, 1, 20, 20))])
    folder = coco_folder(tmp_path / "coco", {"train": sick_content(), "val": clean})
    (folder / "train2017/4.jpg").unlink()
    found = kinds(check_annotated(folder, workers=0)[0])
    below, file = "train2017/", "annotations/instances_train2017.json"
    assert found["box-degenerate"] == [(f"{below}0.jpg", "dog: x 5 y 5 width 0 height 9")]
    assert found["box-inverted"] == [(f"{below}0.jpg", "dog: x 5 y 5 width -3 height 9")]
    assert found["box-outside"] == [(f"{below}1.jpg", "person: x 50 y 5 width 30 height 9 in an image of 60 x 40")]
    assert found["annotation-broken"][0][0] == f"{below}1.jpg"
    assert "[1, 2, 5, nan]" in found["annotation-broken"][0][1]
    assert found["category-unknown"] == [(f"{below}2.jpg", "category 7 of annotation 5")]
    assert found["annotation-orphan"] == [(file, "annotation 7 of image 990")]
    assert found["image-missing"] == [(f"{below}4.jpg", "no such file")]
    assert found["no-objects"] == [(f"{below}2.jpg", "")]
    assert found["id-duplicate"] == [
        ("5.jpg", "image 10, as 0.jpg is"), (f"{below}3.jpg", "annotation 6"), (f"{below}4.jpg", "annotation 6"),
    ]  # fmt: skip
    assert [name for name, _ in found["mask-broken"]] == [f"{below}3.jpg", f"{below}4.jpg"]
    assert "class-missing" in found  # val has no dog


def test_a_broken_file_of_one_split_does_not_stop_the_check(tmp_path: Path) -> None:
    clean = coco_content(["v.jpg"], [annotation(1, 10, (1, 1, 20, 20))])
    folder = coco_folder(tmp_path / "coco", {"train": clean, "val": clean})
    (folder / "annotations/instances_val2017.json").write_text("{")
    checkup, _ = check_annotated(folder, workers=0)
    assert kinds(checkup)["annotation-broken"][0][0] == "annotations/instances_val2017.json"
    (folder / "annotations/instances_train2017.json").write_text("[]")
    with pytest.raises(DataError, match=r"needs lists .* is no JSON file"):
        check_annotated(folder, workers=0)
    with pytest.raises(DataError, match="in neither layout"):
        check_annotated(tmp_path, workers=0)


def test_nothing_is_wrong_with_what_is_right(tmp_path: Path) -> None:
    """A box over the whole image, one of another's mirror image, an image that a camera turned."""
    stems = [f"{number:02}" for number in range(24)]
    tree = voc_tree(tmp_path / "pets", dict.fromkeys(stems, GOOD), {"train": stems[:12], "val": stems[12:]})
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(encoded(40, 60, 999))).save(buffer, "JPEG", exif=exif)
    (tree / "JPEGImages/00.jpg").write_bytes(buffer.getvalue())
    checkup, _ = check_annotated(tree, workers=0)
    assert set(kinds(checkup)) == {"rotated"}
    assert checkup.objects == 48


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((0, 0, 60, 40), None), ((-1, -1, 61, 41), None), ((-1.5, 0, 9, 9), "box-outside"), ((3, 3, 9, 41.5), "box-outside"),
        ((70, 3, 80, 9), "box-outside"), ((3, 3, 3, 9), "box-degenerate"), ((3, 3, 9, 3), "box-degenerate"), ((9, 3, 3, 9), "box-inverted"),
        ((3, 9, 9, 3), "box-inverted"), ((3, 3, 4, 9), "box-thin"), ((3, 3, 9, 3.5), "box-thin"), ((3, 3, 5, 5), None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_box(box: tuple[float, float, float, float], kind: str | None) -> None:
    assert box_kind(StatedBox("a", box, ""), (40, 60)) == kind
    assert kind is None or kind in KINDS


def test_by_command(sick_voc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--output", str(tmp_path / "out"), "--workers", "0"]
    assert main(["data", "check", str(sick_voc), *out]) == 0
    said = capsys.readouterr().out
    assert "pets: 17 images with 19 objects in 2 classes (train 13, val 4)" in said
    assert "Boxes turned inside out" in said
    assert "30 5 10 20" in said
    assert "--exclude" not in said
    assert "Boxes turned inside out" in (tmp_path / "out/index.html").read_text()
    assert main(["data", "check", str(sick_voc), *out, "--strict", "--json"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1]["num_objects"] == 19
    assert lines[-1]["kinds"]["box-inverted"] == 1
    assert main(["data", "check", "fashion-scenes"]) == 2
    assert "make them: resnets data make fashion-scenes" in capsys.readouterr().err

"""The generated scenes: exact boxes and masks, the same bytes from the same seed, both layouts, and a whole set or none."""

import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage
from torchvision.datasets import CocoDetection, VOCDetection

from resnets.cli import main
from resnets.cli.commands.data import MakeOptions
from resnets.data.annotated import open_annotated
from resnets.data.annotations.voc import open_voc
from resnets.data.errors import DataError
from resnets.data.synthetic import fashion_scenes
from resnets.data.synthetic.fashion_scenes import SceneSet, make_scenes
from resnets.data.synthetic.garments import Garments, filled
from resnets.data.synthetic.scene_files import TREE
from resnets.data.synthetic.scenes import SceneSettings, draw
from resnets.data.synthetic.textures import PATTERNS, Numbers, background

SMALL = SceneSet(train=6, val=4, scenes=SceneSettings(size=60, smallest=8, largest=30))


def garments() -> Garments:
    """An ellipse, a frame, a bar and a noisy square, at different places of 28 x 28 pixels."""
    rows, columns = np.mgrid[:28, :28]
    grey = np.zeros((4, 28, 28), np.uint8)
    grey[0][((rows - 14) / 10) ** 2 + ((columns - 12) / 6) ** 2 <= 1] = 200
    grey[1, 4:24, 3:25], grey[1, 8:20, 7:21] = 180, 0
    grey[2, 2:26, 12:16] = 90
    grey[3, 5:20, 5:20] = np.random.default_rng(0).integers(60, 255, (15, 15))
    return Garments(grey, np.array([3, 8, 1, 0]), np.arange(4))


def scenes(count: int, **settings: object) -> list:
    made = SceneSettings.model_validate({"size": 96, "smallest": 12, "largest": 48, **settings})
    return [draw(garments(), made, Numbers(1, 7, 0, index)) for index in range(count)]


def test_boxes_are_those_of_what_can_be_seen() -> None:
    for scene in scenes(40):
        assert scene.pixels.shape == (*scene.masks.shape[1:], 3)
        assert all(80 <= side <= 96 for side in scene.pixels.shape[:2])
        assert scene.masks.sum(0).max(initial=0) <= 1  # a pixel is one object's at most
        for mask, box in zip(scene.masks, scene.boxes.tolist(), strict=True):
            rows, columns = np.nonzero(mask)
            assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.array_equal(scene.classes > 0, scene.masks.any(0))


def test_numbers_sizes_and_visible_shares_are_as_asked_for() -> None:
    made = scenes(150)
    numbers = np.array([len(scene.labels) for scene in made])
    assert set(numbers) == set(range(9))
    assert 0 < (numbers == 0).sum() < 15  # 2 % of 150, and what chance adds
    # A lone object is all there: its longer side is between the two sizes.
    sides = np.array([(scene.boxes[0, 2:] - scene.boxes[0, :2]).max() for scene in made if len(scene.labels) == 1])
    assert sides.min() >= 11
    assert sides.max() <= 49
    assert sides.max() > 2 * sides.min()
    assert all(len(scene.labels) == 0 for scene in scenes(20, empty=0.999))


def test_enough_of_each_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole garments by drawing the same scenes one object after the other: each is on top when it is placed."""
    from resnets.data.synthetic import scenes as module

    whole: list[int] = []
    placed = module._placed

    def counted(solid: np.ndarray, *rest: object) -> tuple[int, int] | None:
        place = placed(solid, *rest)  # type: ignore[arg-type]
        if place is not None:
            whole.append(int(solid.sum()))
        return place

    monkeypatch.setattr(module, "_placed", counted)
    for visible in (0.3, 0.8):
        whole.clear()
        made = scenes(60, visible=visible, empty=0.0)
        shares = np.concatenate([scene.masks.sum((1, 2)) for scene in made]) / whole
        assert visible <= shares.min() < 1


def test_the_garment_is_where_its_mask_is() -> None:
    """The image changes where garments are laid on it, and nowhere else."""
    settings = SceneSettings(size=96, smallest=30, largest=48, empty=0.0, objects=1)
    scene = draw(garments(), settings, Numbers(1, 7, 0, 2))
    bare = draw(garments(), settings.model_copy(update={"empty": 0.9999999}), Numbers(1, 7, 0, 2))
    changed = np.abs(scene.pixels.astype(int) - bare.pixels).max(2) > 12
    mask = scene.masks[0]
    assert changed[mask].mean() > 0.8
    grown = ndimage.binary_dilation(mask, iterations=2)
    assert not changed[~grown].any()


def test_garments_keep_their_proportions() -> None:
    """The ellipse is 13 pixels wide and 21 high, at whatever size it is drawn."""
    seen = set()
    for scene in scenes(60, objects=1, smallest=40):
        for label, (x1, y1, x2, y2) in zip(scene.labels.tolist(), scene.boxes.tolist(), strict=True):
            seen.add(label)
            if label != 1:  # the bar is so thin that whole pixels hide its proportions
                wide, high = {3: (13, 21), 8: (22, 20), 0: (15, 15)}[label]
                assert (y2 - y1) / (x2 - x1) == pytest.approx(high / wide, rel=0.08)
    assert seen == {0, 1, 3, 8}


def test_the_command_makes_the_set_that_everybody_has() -> None:
    options, settings = MakeOptions("fashion-scenes"), SceneSet()
    shared = {**settings.counts, "seed": settings.seed, **settings.scenes.model_dump(exclude={"empty", "visible"})}
    assert {name: getattr(options, name) for name in shared} == shared


def test_silhouettes_have_no_holes() -> None:
    random = np.random.default_rng(2)
    for share in (0.2, 0.45, 0.6, 0.8):
        for _ in range(20):
            solid = random.random((28, 28)) < share
            assert np.array_equal(filled(solid), ndimage.binary_fill_holes(solid))
    snake = np.ones((28, 28), bool)  # a long way in
    snake[1::2, :] = False
    snake[2::4, 1] = snake[4::4, 26] = False
    assert np.array_equal(filled(snake), ndimage.binary_fill_holes(snake))
    assert garments().cut_out(1).grey.shape == (20, 22)


def test_backgrounds_have_texture_and_differ() -> None:
    made = [background(Numbers(0, 0, 0, index), 40, 50) for index in range(12)]
    assert all(texture.std() > 3 and texture.min() >= 0 and texture.max() <= 255 for texture in made)
    assert len({texture.tobytes() for texture in made}) == 12
    for pattern in PATTERNS:
        values = pattern(Numbers(1, 2, 3), 40, 50)
        assert values.shape == (40, 50)
        assert 0 <= values.min() < values.max() <= 1


def test_random_numbers_are_fixed() -> None:
    """PCG64's raw numbers and SeedSequence's are promised to stay; a set made years ago can be made again."""
    random = Numbers(1, 0, 0, 5)
    assert random.uniform() == np.random.default_rng(np.random.SeedSequence((1, 0, 0, 5))).random()
    values = Numbers(3).array(10_000)
    assert 0 <= values.min() < 0.001 < 0.999 < values.max() < 1
    assert abs(float(values.mean()) - 0.5) < 0.02


def test_the_same_seed_makes_the_same_bytes(good: Path, tmp_path: Path, reports: list[str]) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first, second, longer, other = (
        files(make_scenes(tmp_path / str(number), settings, garments=good, report=reports.append).folder)
        for number, settings in enumerate(
            (SMALL, SMALL, SMALL.model_copy(update={"train": 9}), SMALL.model_copy(update={"seed": 1}))
        )
    )
    assert first == second
    images = [name for name in first if name.endswith(".jpg")]
    assert len(images) == 10
    assert all(longer[name] == first[name] for name in images)
    assert all(other[name] != first[name] for name in images)


def test_both_layouts_as_other_programs_read_them(good: Path, tmp_path: Path, reports: list[str]) -> None:
    pytest.importorskip("pycocotools")
    folder = make_scenes(tmp_path / "made", SMALL, garments=good, report=reports.append).folder
    for split, count in SMALL.counts.items():
        ours = open_annotated(str(folder), split, None, reports.append)
        coco = CocoDetection(str(folder), str(folder / f"annotations/instances_{split}.json"))
        voc = VOCDetection(str(folder), year="2007", image_set=split)
        tree = open_voc(folder / TREE, split, masks=True)
        assert len(ours) == len(coco) == len(voc) == len(tree) == count
        assert ours.classes == tree.classes
        for index in range(count):
            image, targets = coco[index]
            assert np.array_equal(np.asarray(image), np.asarray(voc[index][0]))
            assert (image.height, image.width) == ours.size_of(index)
            named = [entry["name"] for entry in voc[index][1]["annotation"].get("object", [])]
            assert named == [ours.classes[entry["category_id"] - 1] for entry in targets]
            mask = ours.mask(index)
            assert np.array_equal(mask, tree.mask(index))
            drawn = np.zeros_like(mask)
            for entry, box, area in zip(targets, ours.objects(index).boxes, ours.objects(index).areas, strict=True):
                theirs = coco.coco.annToMask(entry).astype(bool)
                drawn[theirs] = entry["category_id"]
                left, top, right, bottom = box.astype(int).tolist()
                assert entry["bbox"] == [left, top, right - left, bottom - top]
                assert theirs[top:bottom, left:right].sum() == theirs.sum() == area
            assert np.array_equal(drawn, mask)


def test_training_and_evaluation_show_other_garments(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    load = fashion_scenes.load_garments
    monkeypatch.setattr(fashion_scenes, "load_garments", lambda split, *rest: asked.append(split) or load(split, *rest))
    make_scenes(tmp_path / "made", SMALL, garments=good, report=print)
    assert asked == ["train", "test"]


def test_the_set_is_made_where_there_is_none(good: Path, reports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETS_OFFLINE", "1")
    monkeypatch.setattr(fashion_scenes, "make_scenes", partial(make_scenes, settings=SMALL))
    with pytest.raises(DataError, match="fashion-mnist were not found"):
        open_annotated("fashion-scenes", "train", None, reports.append)
    assert not fashion_scenes.default_folder().exists()
    reports.clear()
    assert len(open_annotated("fashion-scenes", "train", good, reports.append)) == 6
    assert reports == [f"fashion-scenes is made once, in {fashion_scenes.default_folder()}; it takes two minutes"]
    assert len(open_annotated("fashion-scenes", "val", good, reports.append)) == 4
    assert len(reports) == 1


def test_a_set_in_its_place_is_used(good: Path, tmp_path: Path, reports: list[str]) -> None:
    make_scenes(None, SMALL, garments=good, report=reports.append)
    images = open_annotated("fashion-scenes", "val", None, reports.append)
    assert (images.name, images.split, len(images)) == ("fashion-scenes", "val", 4)
    assert len(open_annotated("fashion-scenes", "train", fashion_scenes.default_folder(), reports.append)) == 6
    reports.clear()
    make_scenes(None, SMALL, garments=good, report=reports.append)
    assert "holds these scenes already" in reports[0]
    with pytest.raises(ValueError, match="seed 0 and not 4; name another folder"):
        make_scenes(None, SMALL.model_copy(update={"seed": 4}), garments=good, report=reports.append)
    with pytest.raises(ValueError, match="no split 'test'"):
        open_annotated("fashion-scenes", "test", None, reports.append)
    lists = fashion_scenes.default_folder() / "annotations/instances_val.json"
    cut = json.loads(lists.read_text())
    cut["images"], cut["annotations"] = cut["images"][:1], []
    lists.write_text(json.dumps(cut))
    with pytest.raises(DataError, match="has 1 scenes in val and should have 4"):
        open_annotated("fashion-scenes", "val", None, reports.append)
    (fashion_scenes.default_folder() / "scenes.json").write_text("{")
    with pytest.raises(DataError, match=r"scenes\.json is damaged"):
        open_annotated("fashion-scenes", "val", None, reports.append)


def test_a_set_is_whole_or_absent(good: Path, tmp_path: Path, reports: list[str]) -> None:
    folder = tmp_path / "sets" / "made"

    def stop(done: int, total: int) -> None:
        assert total == 10
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_scenes(folder, SMALL, garments=good, report=reports.append, progress=stop)
    assert list(folder.parent.iterdir()) == []
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is there already; nothing was changed"):
        make_scenes(folder, SMALL, garments=good, report=reports.append)
    assert [path.name for path in folder.parent.iterdir()] == ["made"]
    (folder / "mine.txt").unlink()
    assert make_scenes(folder, SMALL, garments=good, report=reports.append).objects.keys() == {"train", "val"}


def test_what_is_written_wrong_is_noticed(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnets.data.synthetic.scene_files.compressed", lambda lengths: "0" * 4)
    with pytest.raises(ValueError, match="run lengths"):
        make_scenes(tmp_path / "made", SMALL, garments=good, report=print)
    assert not (tmp_path / "made").exists()


def test_by_command(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made"
    options = ["--output", str(folder), "--train", "3", "--val", "2", "--size", "60", "--smallest", "8", "--largest", "30"]
    assert main(["data", "make", "fashion-scenes", *options, "--data-folder", str(good), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["path"] == str(folder)
    assert said["settings"]["train"] == 3
    with PIL.Image.open(io.BytesIO((folder / TREE / "JPEGImages/val_000001.jpg").read_bytes())) as image:
        assert 50 <= image.width <= 60
    assert main(["data", "make", "fashion-scenes", "--size", "60"]) == 2
    assert "do not go into scenes" in capsys.readouterr().err
    assert main(["data", "make", "other"]) == 2
    assert main(["data", "list", "--json"]) == 0
    names = {json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()}
    assert {"fashion-scenes", "voc07", "voc12", "coco"} <= names

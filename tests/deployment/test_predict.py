"""Prediction on image files, good and bad."""

from pathlib import Path

import numpy
import PIL.Image
import pytest
import torch

import resnets
from resnets.data.datasets.catalogue import load
from resnets.data.decoding import decode as decoding
from resnets.data.decoding.preprocessing import Preprocessing
from resnets.deployment.prediction.predict import find_images, predict, read_image
from resnets.training.run import Run


def make_images(folder: Path, count: int) -> tuple[list[Path], torch.Tensor]:
    """Real digits as PNG files, and their labels."""
    digits = load("digits", "test")
    paths = []
    for i in range(count):
        paths.append(folder / f"{i:03d}.png")
        PIL.Image.fromarray(digits.images[i, 0].numpy()).save(paths[-1])
    return paths, digits.labels[:count]


def test_files_are_predicted_as_evaluation_does(small_run: Run, tmp_path: Path) -> None:
    paths, _ = make_images(tmp_path, 30)
    network = resnets.load_model(small_run.model_path)
    digits = load("digits", "test")
    with torch.inference_mode():
        expected = network(network.preprocessing(digits.images[:30])).softmax(1)
    results = list(predict(network, paths, top=3, batch_size=7))
    assert [result.path for result in results] == paths
    for result, shares in zip(results, expected, strict=True):
        values, indices = shares.topk(3)
        assert [label for label, _ in result.top] == [digits.classes[i] for i in indices]
        assert [share for _, share in result.top] == pytest.approx(values.tolist(), abs=1e-5)


def test_bad_files_are_named_and_the_others_go_on(small_run: Run, tmp_path: Path) -> None:
    good, _ = make_images(tmp_path, 2)
    text, empty, cut = tmp_path / "text.png", tmp_path / "empty.png", tmp_path / "cut.png"
    text.write_text("no image at all")
    empty.touch()
    noise = numpy.random.default_rng(0).integers(0, 255, (64, 64), dtype=numpy.uint8)
    PIL.Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:900])
    order = [good[0], text, empty, cut, good[1]]
    results = list(predict(resnets.load_model(small_run.model_path), order))
    assert [result.path for result in results] == order
    errors = [result.error for result in results]
    assert errors[0] is errors[4] is None
    assert errors[1] == "not an image, whatever its name says"
    assert errors[2] == "the file is empty"
    assert errors[3] is not None
    assert errors[3].startswith("damaged or unreadable")
    assert results[1].as_json() == {"path": str(text), "error": errors[1]}
    assert results[0].as_json().keys() == {"path", "label", "probability", "top"}


def test_a_decompression_bomb_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_run: Run) -> None:
    PIL.Image.new("1", (400, 400)).save(tmp_path / "bomb.png")
    network = resnets.load_model(small_run.model_path)
    assert read_image(tmp_path / "bomb.png", network.preprocessing).shape == (1, 1, 8, 8)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 100_000)
    with pytest.raises(ValueError, match=r"^160,000 pixels, more than 100,000; make it smaller first$"):
        read_image(tmp_path / "bomb.png", network.preprocessing)
    monkeypatch.setattr(decoding, "MAX_PIXELS", 200_000)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1_000)  # at twice as many Pillow refuses
    with pytest.raises(ValueError, match=r"^damaged or unreadable: Image size .* exceeds limit"):
        read_image(tmp_path / "bomb.png", network.preprocessing)


def test_folders_are_searched(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.PNG", "b/a.jpeg", "notes.txt", "c.webp"):
        (tmp_path / name).touch()
    found = find_images([tmp_path])
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["b/a.jpeg", "c.webp", "z.PNG"]
    assert find_images([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]  # what is named is tried
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        find_images([tmp_path / "empty"])
    with pytest.raises(ValueError, match="no file or folder"):
        find_images([tmp_path / "absent"])


def test_images_of_another_size_are_seen_as_evaluation_sees_them(small_run: Run, tmp_path: Path) -> None:
    noise = numpy.random.default_rng(1).integers(0, 255, (70, 50, 3), dtype=numpy.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "a.png")
    network = resnets.load_model(small_run.model_path)
    grey = torch.from_numpy(numpy.array(PIL.Image.fromarray(noise).convert("L")))[None, None]
    levels = torch.nn.functional.interpolate(grey.float(), (8, 8), mode="bilinear", antialias=True).round() / 255
    mean, std = (torch.tensor(values) for values in (network.preprocessing.mean, network.preprocessing.std))
    with torch.inference_mode():
        expected = network((levels - mean.item()) / std.item()).softmax(1).max().item()
    assert next(predict(network, [tmp_path / "a.png"])).top[0][1] == pytest.approx(expected, abs=1e-6)


def test_decoding_processes_change_nothing(small_run: Run, tmp_path: Path) -> None:
    paths, _ = make_images(tmp_path, 20)
    paths[7].write_text("no image")
    network = resnets.load_model(small_run.model_path)
    alone, helped = (list(predict(network, paths, top=2, batch_size=6, workers=workers)) for workers in (0, 2))
    assert alone == helped
    assert [result.path for result in helped if result.error] == [paths[7]]


def test_a_network_without_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="neither its classes nor its preprocessing"):
        next(predict(resnets.create_model("cifar-resnet8"), []))


def test_a_network_without_a_head_names_nothing(tmp_path: Path) -> None:
    network = resnets.create_model("cifar-resnet8", num_classes=0).eval()
    network.classes, network.preprocessing = (), Preprocessing(size=32)
    with pytest.raises(ValueError, match="no head that names classes"):
        next(iter(predict(network, [tmp_path / "a.png"])))

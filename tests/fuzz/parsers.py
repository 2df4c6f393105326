"""Every parser of foreign bytes, with seeds: what is asked of each is that it returns, or raises one of the errors that it declares."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image


@dataclass(frozen=True)
class Parser:
    """A parser under test.

    Attributes:
        name: of it.
        parse: takes bytes; a file of theirs is written where the parser takes a path.
        seeds: makes inputs that it understands.
        ending: of that file's name.
    """

    name: str
    parse: Callable[[Path], Any]
    seeds: Callable[[], list[bytes]]
    ending: str


def _pixels(size: int = 12) -> Any:
    return PIL.Image.fromarray(np.arange(size * size * 3, dtype=np.uint8).reshape(size, size, 3))


def make_images() -> list[bytes]:
    made = []
    for kind, options in (
        ("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("WEBP", {}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}), ("TGA", {}), ("JPEG2000", {}),
    ):  # fmt: skip
        file = io.BytesIO()
        try:
            _pixels().save(file, kind, **options)
        except (OSError, KeyError):
            continue  # a build of Pillow without that format
        made.append(file.getvalue())
    for mode in ("P", "LA", "I;16", "1", "CMYK"):
        file = io.BytesIO()
        grey = _pixels().convert("L")
        image = (
            PIL.Image.fromarray(np.asarray(grey, np.uint16) * 257)
            if mode == "I;16"
            else _pixels().convert(mode)
            if mode != "LA"
            else grey.convert("LA")
        )
        image.save(file, "TIFF" if mode == "CMYK" else "PNG")
        made.append(file.getvalue())
    return made


def parse_image(path: Path) -> Any:
    from resnets.data.decoding.preprocessing import Preprocessing
    from resnets.deployment.prediction.reading import read_image

    return read_image(path, Preprocessing(size=16))


def examine_image(path: Path) -> Any:
    from resnets.data.doctor.image import examine

    return examine(path.read_bytes(), path.name, likeness=True)


def parse_mask(path: Path) -> Any:
    from resnets.data.annotations.masks import decoded_mask

    return decoded_mask(path.read_bytes(), "mask")


@cache
def _state() -> dict[str, Any]:
    import torch

    import resnets

    torch.manual_seed(0)
    return dict(resnets.create_model("cifar-resnet8:width=2,stem_width=2", num_classes=2).state_dict())


def checkpoints() -> list[bytes]:
    import argparse

    import torch

    import resnets

    state, made = _state(), []
    contents = (
        state,
        {"model": state, "args": argparse.Namespace(x=1)},
        resnets.create_model("cifar-resnet8:width=2,stem_width=2", num_classes=2),
    )
    for content in contents:
        for new in (True, False):
            file = io.BytesIO()
            torch.save(content, file, _use_new_zipfile_serialization=new)
            made.append(file.getvalue())
    file = io.BytesIO()
    np.savez(file, **{name: value.numpy() for name, value in state.items()})
    arrays = {name: value.numpy() for name, value in state.items()}
    return [*made, file.getvalue(), *(pickle.dumps({"model": arrays}, protocol) for protocol in (2, 4))]


def parse_checkpoint(path: Path) -> Any:
    from resnets.weights.foreign_file import candidates, read_tables

    return candidates(read_tables(path))


def parse_pickle(path: Path) -> Any:
    from resnets.core.safe_pickle import read_array_pickle

    return read_array_pickle(path)


def pickles() -> list[bytes]:
    value = {"a": np.zeros((2, 3), np.float32), "b": [1, "x", b"y", None], "c": np.arange(5)[::2]}
    return [pickle.dumps(value, protocol) for protocol in range(2, 6)]


@cache
def _model() -> bytes:
    import resnets
    from resnets.data.decoding.preprocessing import Preprocessing
    from resnets.weights.model_file import ModelDescription, save_model

    network = resnets.create_model("cifar-resnet8:width=2,stem_width=2", num_classes=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        save_model(network, path, ModelDescription(network.spec, ("a", "b"), Preprocessing(size=8)))
        return path.read_bytes()


def parse_model(path: Path) -> Any:
    from resnets.weights.model_file import load_model

    return load_model(path)


def idx_files() -> list[bytes]:
    plain = struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 3, 4) + bytes(24)
    return [plain, struct.pack(">BBBBI", 0, 0, 8, 1, 5) + bytes(5)]


def parse_idx(path: Path) -> Any:
    from resnets.data.sources.idx import read_idx

    return read_idx(path)


def quiet(message: str) -> None:
    """Reports are not looked at."""


def coco_files() -> list[bytes]:
    listing = {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}], "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1,
            "bbox": [1, 1, 3, 3], "area": 9, "iscrowd": 0, "segmentation": [[1, 1, 4, 1, 4, 4]]}],
    }  # fmt: skip
    return [json.dumps(listing).encode(), json.dumps(listing, indent=1).encode()]


def parse_coco(path: Path) -> Any:
    from resnets.data.annotated import open_annotated
    from resnets.data.doctor.annotations import check_annotated

    folder = path.parent / "coco"
    for split in ("train", "val"):
        (folder / f"{split}2017").mkdir(parents=True, exist_ok=True)
        _pixels(8).save(folder / f"{split}2017" / "a.png")
    (folder / "annotations").mkdir(exist_ok=True)
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}2017.json").write_bytes(path.read_bytes())
    try:
        check_annotated(folder, workers=0)
    except ValueError as error:
        first = error
    else:
        first = None
    opened = open_annotated(str(folder), "train", None, quiet)
    return opened, first


def voc_files() -> list[bytes]:
    size = "<size><width>8</width><height>8</height><depth>3</depth></size>"
    box = "<object><name>x</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object>"
    return [
        f"<annotation>{size}{box}</annotation>".encode(),
        f"<?xml version='1.0'?>\n<annotation>{size}{box * 3}</annotation>".encode(),
    ]


def parse_voc(path: Path) -> Any:
    from resnets.data.annotated import open_annotated

    folder = path.parent / "voc"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    _pixels(8).save(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations" / "a.xml").write_bytes(path.read_bytes())
    for split in ("train", "val"):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("a\n")
    return open_annotated(str(folder), "train", None, quiet)


def csv_files() -> list[bytes]:
    return [
        b"path,label\na.png,x\nb.png,y\n",
        b'\xef\xbb\xbfpath;label;split\na.png;x;train\n"b,c.png";y;train\na.png;x;val\n',
        b'path\tlabel\n"a b.png"\tx\nb.png\ty\n',
    ]


def parse_csv(path: Path) -> Any:
    from resnets.data.datasets.csv_list import find_csv

    for name in ("a.png", "b.png", "b,c.png", "a b.png"):  # those that the lists name, beside any list
        if not (path.parent / name).exists():
            _pixels(8).save(path.parent / name)
    return find_csv(path)


def yaml_files() -> list[bytes]:
    from resnets.classification.recipe import Recipe

    return [Recipe().to_yaml().encode(), b"data: digits\noptimizer: {name: sgd, learning_rate: 0.1}\nblocks: &a [1, 2]\nb: *a\n"]


def parse_recipe(path: Path) -> Any:
    from resnets.classification.recipe import read_recipe

    return read_recipe(path)


def tars() -> list[bytes]:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as bundle:
        for name, content in (("a.png", make_images()[2]), ("a.cls", b"1"), ("sub/b.jpg", make_images()[0])):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            bundle.addfile(info, io.BytesIO(content))
    return [file.getvalue()]


def parquets() -> list[bytes]:
    import pyarrow
    import pyarrow.parquet

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table(
        {
            "image": pyarrow.array([{"bytes": make_images()[2], "path": "a.png"}, {"bytes": None, "path": "../x.png"}], kind),
            "label": [0, 1],
        }
    )
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return [file.getvalue()]


def parse_shard(path: Path) -> Any:
    from resnets.deployment.prediction.image_shards import open_shard

    shard = open_shard(str(path))
    errors = []
    for number in range(min(len(shard), 4)):
        try:
            shard.read(number)
        except OSError as error:
            errors.append(error)
    return shard, errors


@cache
def _exported(format: str) -> tuple[bytes, ...]:
    import resnets
    from resnets.deployment.export import export_model

    network = resnets.create_model("cifar-resnet8:width=2,stem_width=2", num_classes=2).eval()
    with tempfile.TemporaryDirectory() as folder:
        ending = {"torch-export": ".pt2", "onnx": ".onnx", "openvino": ".xml"}[format]
        path = export_model(network, Path(folder) / f"net{ending}", format=format).path  # type: ignore[arg-type]
        return tuple(each.read_bytes() for each in (path, path.with_suffix(".bin")) if each.exists())


def parse_graph(path: Path) -> Any:
    """OpenVINO's graph, with sound weights beside it; its threads need address space, which is measured and not used."""
    path.with_suffix(".bin").write_bytes(_exported("openvino")[1])
    return parse_exported(path)


def parse_exported(path: Path) -> Any:
    from resnets.deployment.engines import open_engine

    return open_engine(path, threads=1)


def arguments() -> list[bytes]:
    return [
        b"train digits --epochs 1 --optimizer.learning-rate 0.1",
        b"predict runs/x a.png --top 3 --json",
        b"data check x --no-page",
        b"models --json",
    ]


def parse_arguments(path: Path) -> Any:
    from resnets.classification.recipe import Recipe
    from resnets.cli.commands.train import COMMAND

    words = path.read_bytes().decode("utf-8", "surrogateescape").split()[2:]
    try:
        sorted_words, _ = COMMAND.scanned(words)
        _, values = COMMAND.values(Recipe(), sorted_words)
        return Recipe().updated(**{name.replace(".", "__"): value for name, value in values.items()})
    except SystemExit as ended:  # tyro has said what is wrong
        return ended.code


PARSERS = (
    Parser("image", parse_image, make_images, ".png"),
    Parser("image-doctor", examine_image, make_images, ".png"),
    Parser("mask", parse_mask, make_images, ".png"),
    Parser("checkpoint", parse_checkpoint, checkpoints, ".pth"),
    Parser("pickle", parse_pickle, pickles, ".pkl"),
    Parser("model-file", parse_model, lambda: [_model()], ".safetensors"),
    Parser("idx", parse_idx, idx_files, ".idx"),
    Parser("idx-gz", parse_idx, lambda: [gzip.compress(each) for each in idx_files()], ".gz"),
    Parser("coco", parse_coco, coco_files, ".json"),
    Parser("voc", parse_voc, voc_files, ".xml"),
    Parser("csv", parse_csv, csv_files, ".csv"),
    Parser("recipe", parse_recipe, yaml_files, ".yaml"),
    Parser("tar", parse_shard, tars, ".tar"),
    Parser("parquet", parse_shard, parquets, ".parquet"),
    Parser("pt2", parse_exported, lambda: list(_exported("torch-export")), ".pt2"),
    Parser("onnx", parse_exported, lambda: list(_exported("onnx")), ".onnx"),
    Parser("openvino", parse_graph, lambda: [_exported("openvino")[0]], ".xml"),
    Parser("arguments", parse_arguments, arguments, ".txt"),
)

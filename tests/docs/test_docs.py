"""What the documentation says to type works: every page's blocks are run in order, in a folder of the page's own."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from doc_pages import Block, fenced_blocks, indented_blocks
from doc_running import parse, read_block, run_block

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, with a folder of data sets of its own and wide tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNETS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def digit_folder(folder: Path, classes: int = 3, images: int = 40) -> None:
    """FOLDER/CLASS/NUMBER.png: handwritten digits, enlarged to 32 x 32."""
    from resnets.data import load

    digits = load("digits", "train")
    labels = digits.labels.numpy()
    for label, name in enumerate(("zero", "one", "two")[:classes]):
        (folder / name).mkdir(parents=True)
        for number, place in enumerate(np.flatnonzero(labels == label)[:images]):
            pixels = digits.images[int(place)].squeeze().numpy()
            PIL.Image.fromarray(pixels).resize((32, 32)).save(folder / name / f"{number}.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT / "docs").with_suffix("").as_posix())
def test_what_the_page_says_to_type_works(page: Path, in_a_folder: Path) -> None:
    torch.manual_seed(0)
    names: dict[str, Any] = {"digit_folder": digit_folder, "page_text": page.read_text("utf-8"), "Path": Path}
    printed = ""
    for block in fenced_blocks(page):
        printed = run_block(block, names, printed)


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.name)
def test_the_readmes_commands_are_understood(readme: Path, in_a_folder: Path) -> None:
    digit_folder(in_a_folder / "my-images", images=4)
    run = in_a_folder / "runs" / "fashion-mnist-1"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text("# resnets train\nname: fashion-mnist\n")
    (in_a_folder / "my-scenes" / "annotations").mkdir(parents=True)
    (in_a_folder / "my-scenes" / "annotations" / "instances_train2017.json").write_text("{}")
    blocks = indented_blocks(readme)
    assert len(blocks) > 15
    for block in blocks:
        read_block(block)


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: page.name)
def test_extras_and_files_that_pages_name_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = {extra for extras in re.findall(r"(?:resnets|\.)\[([\w,]+)\]", text) for extra in extras.split(",")}
    assert named <= known.keys()
    links = [link for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    "block",
    [
        Block("page", 1, "sh", "resnets train digits --epoch 1\n", reason="to be read"),
        Block("page", 1, "sh", "resnets train digit\n", reason="to be read"),
        Block("page", 1, "sh", "resnets predict MODEL IMAGE --best 3\n", reason="to be read"),
        Block("page", 1, "sh", "resnets forecast MODEL\n", reason="to be read"),
        Block("page", 1, "sh", "torchrun -m resnets train digits --optimizer.rate 1\n", reason="to be read"),
        Block("page", 1, "python", "import resnets\nresnets.make_model('resnet18')\n", reason="to be read"),
        Block("page", 1, "python", "from resnets.weights import reform\n", reason="to be read"),
        Block("page", 1, "python", "import resnets\nresnets.load_model(file='a')\n", reason="to be read"),
        Block("page", 1, "sh", "resnets models 'no-such-*'\n"),
        Block("page", 1, "sh", "rm -r somewhere\n"),
        Block("page", 1, "python", "import resnets\nresnets.get_spec('resnet19')\n"),
        Block("page", 1, "text", "what nobody printed\n"),
    ],
    ids=lambda block: block.body.strip().replace("\n", " "),
)
def test_a_page_that_is_wrong_is_found(block: Block, in_a_folder: Path) -> None:
    with pytest.raises(AssertionError, match="page, line 1"):
        run_block(block, {}, "")


def test_options_are_parsed_without_doing_anything(in_a_folder: Path) -> None:
    parse(["train", "digits", "--epochs", "3"], "here")
    parse(["evaluate", "no-such-run"], "here")
    assert list(in_a_folder.iterdir()) == []

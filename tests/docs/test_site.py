"""The documentation site: its navigation names pages that exist, and every link between pages leads somewhere."""

from __future__ import annotations

import importlib.util
import json
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """docs/site_hooks.py."""
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(hooks: ModuleType) -> dict[str, str]:
    """Every page of the site, by its path below docs/, with its Markdown."""
    own = {path.relative_to(DOCS).as_posix(): path.read_text("utf-8") for path in DOCS.rglob("*.md")}
    return own | hooks.generated_pages()


def named_in(navigation: Any) -> list[str]:
    """The pages that a part of the navigation names."""
    if isinstance(navigation, str):
        return [navigation]
    parts = navigation.values() if isinstance(navigation, dict) else navigation
    return [page for part in parts for page in named_in(part)]


def test_the_navigation_names_every_page_once(hooks: ModuleType, pages: dict[str, str]) -> None:
    whole = hooks.on_config({"nav": yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]})
    assert sorted(named_in(whole["nav"])) == sorted(pages)


def test_links_between_pages_lead_to_pages(hooks: ModuleType, pages: dict[str, str]) -> None:
    records = {path.relative_to(ROOT).as_posix() for path in hooks.records()}
    assert records
    broken = []
    for page, text in pages.items():
        prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose):
            if "://" not in target:
                there = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
                if there not in pages and there not in records:
                    broken.append((page, target))
    assert broken == []


def test_links_of_the_readme_follow_it_into_the_site(hooks: ModuleType) -> None:
    text = "[a](docs/guide.md#install) [b](README.zh-CN.md) [c](results/) [d](https://d2l.ai) [e](results/security.json)"
    moved = "[a](guide.md#install) [b](zh/README.md) c [d](https://d2l.ai) [e](results/security.json)"
    assert hooks.moved("about.md", text) == moved
    assert hooks.moved("zh/README.md", "[a](docs/guide.md) [b](README.md)") == "[a](../guide.md) [b](../about.md)"


def test_the_examples_page_shows_every_example(pages: dict[str, str]) -> None:
    for script in (ROOT / "examples").glob("*.py"):
        assert script.read_text("utf-8").rstrip() in pages["examples.md"]
    for notebook in (ROOT / "examples" / "notebooks").glob("*.ipynb"):
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                assert "".join(cell["source"]) in pages["examples.md"]


def test_the_site_is_built_and_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    fetched = re.compile(
        r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//|<link\b[^>]*\bhref=["']?(?:https?:)?//"""
    )
    found = [page.name for page in (tmp_path / "site").rglob("*.html") if fetched.search(page.read_text("utf-8"))]
    assert found == []
    index = json.loads((tmp_path / "site" / "search" / "search_index.json").read_text("utf-8"))
    words = " ".join(entry["text"] for entry in index["docs"])
    assert "验证集" in words
    assert "freshly initialised" in words
    assert "Faster R-CNN" in words
    assert 'lang="zh-CN"' in (tmp_path / "site" / "zh" / "index.html").read_text("utf-8")

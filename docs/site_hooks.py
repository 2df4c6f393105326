"""What the documentation site has besides docs/*.md: pages from files of the repository's root, examples, and the Python reference.

mkdocs calls the functions that begin with `on_`; mkdocs.yml names this file.
"""

from __future__ import annotations

import importlib.util
import json
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FROM_ROOT = {
    "about.md": "README.md",
    "zh/README.md": "README.zh-CN.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
}
"""Page of the site -> the file that it shows."""

REFERENCE = "reference/"
"""In the navigation: stands for a page per public module."""

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]*)(?P<anchor>#[^)]*)?\)")


def public_modules() -> tuple[str, ...]:
    """The modules of docs/api.md, in its order."""
    spec = importlib.util.spec_from_file_location("resnets_docs_api", Path(__file__).with_name("api.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    modules: tuple[str, ...] = module.MODULES
    return modules


def reference_page(module: str) -> str:
    """The site's page of a module."""
    return f"reference/{module}.md"


def example_page() -> str:
    """The text of the page with all examples: scripts as they are, notebooks cell by cell."""
    parts = ["# Examples", "", "Each script and notebook in `examples/` is run by the tests as it is shown here.", ""]
    for script in sorted((ROOT / "examples").glob("*.py")):
        parts += [f"## {script.name}", "", "```python", script.read_text("utf-8").rstrip(), "```", ""]
    for notebook in sorted((ROOT / "examples" / "notebooks").glob("*.ipynb")):
        parts += [f"## notebooks/{notebook.name}", ""]
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
            text = "".join(cell["source"])
            # The page has one first-level heading: those of a notebook move down by two.
            markdown = re.sub(r"^#", "###", text, flags=re.MULTILINE)
            parts += [f"```python\n{text}\n```" if cell["cell_type"] == "code" else markdown, ""]
    return "\n".join(parts)


def generated_pages() -> dict[str, str]:
    """Page of the site -> its Markdown, for all pages that are no files of docs/."""
    pages = {page: moved(page, (ROOT / source).read_text("utf-8")) for page, source in FROM_ROOT.items()}
    pages["examples.md"] = example_page()
    for module in public_modules():
        # Packages show what they offer under its name there; the page of the module that defines it shows it in full.
        pages[reference_page(module)] = f"---\ntitle: {module}\n---\n\n::: {module}\n"
    return pages


def moved(page: str, text: str) -> str:
    """The text of a file of the repository's root as a page of the site: its links lead to pages, or to copies of records."""
    shown = {source: target for target, source in FROM_ROOT.items()}

    def link(match: re.Match[str]) -> str:
        target = match["target"]
        if not target or "://" in target:
            return match[0]
        if target.startswith("docs/"):
            there = target.removeprefix("docs/")
        elif target in shown:
            there = shown[target]
        elif (ROOT / target).is_file():
            there = target  # see `records`
        else:
            return match["text"]  # a folder, which a site does not show
        return f"[{match['text']}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{match['anchor'] or ''})"

    return _LINK.sub(link, text)


def records() -> list[Path]:
    """The files of results/ that pages link to, with what a study's page shows."""
    return sorted(path for path in (ROOT / "results").rglob("*") if path.suffix in {".html", ".svg", ".json"})


def on_config(config: Any) -> Any:
    """Puts a page per public module where the navigation says `reference/`."""
    for section in config["nav"]:
        for entries in section.values():
            for entry in entries:
                for title, target in entry.items() if isinstance(entry, dict) else ():
                    if target == REFERENCE:
                        entry[title] = [{module: reference_page(module)} for module in public_modules()]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Adds the generated pages and the records."""
    from mkdocs.structure.files import File

    for page, text in generated_pages().items():
        files.append(File.generated(config, page, content=text))
    for path in records():
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Chinese pages say their language, for browsers, screen readers and fonts."""
    if page.file.src_uri.startswith("zh/"):
        return output.replace('<html lang="en"', '<html lang="zh-CN"', 1)
    return output

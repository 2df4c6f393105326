"""The files that a project's platform reads agree with the project: versions, commands, locked packages, owners."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def read(name: str | Path) -> Any:
    """A YAML file of the repository."""
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def normalized(name: str) -> str:
    """A package's name as indexes compare it (PEP 503), without extras and versions."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name)[0]).lower()


def test_citation_changelog_and_package_have_one_version() -> None:
    assert read("CITATION.cff")["version"] == PROJECT["version"]
    versions = re.findall(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert versions[0] == PROJECT["version"]
    assert versions == sorted(versions, key=lambda version: tuple(map(int, version.split("."))), reverse=True)


def test_the_citation_has_what_the_format_requires() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"]
    assert citation["type"] == "software"
    assert citation["title"]
    assert citation["message"]
    for work in (citation, *citation["references"]):
        assert all("name" in author or {"family-names", "given-names"} <= author.keys() for author in work["authors"])
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", work["doi"]) for work in citation["references"])


@pytest.mark.parametrize("extra", ["dependencies", "dev", "docs"])
def test_every_package_that_ci_needs_is_locked_with_hashes(extra: str) -> None:
    entries = re.split(r"^(?=\S)", (ROOT / "requirements" / "dev.lock").read_text("utf-8"), flags=re.MULTILINE)
    locked = {normalized(entry.split("==")[0]) for entry in entries if "==" in entry and "--hash=sha256:" in entry}
    wanted = PROJECT["dependencies"] if extra == "dependencies" else PROJECT["optional-dependencies"][extra]
    assert {normalized(name) for name in wanted} - locked == set()


def test_the_lock_names_no_index() -> None:
    lock = (ROOT / "requirements" / "dev.lock").read_text("utf-8")
    assert "://" not in lock
    assert "--index" not in lock
    assert "--find-links" not in lock


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_commands_of_the_makefile(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    (job,) = read(path)["jobs"].values()
    called = [step["run"].split() for step in job["steps"] if "run" in step]
    assert called
    for make, target, *_ in called:
        assert make == "make"
        assert target in targets


def test_the_tests_run_on_every_version_of_python_that_the_package_allows() -> None:
    versions = read(".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]["python"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert versions == ["3.11", "3.12", "3.13", "3.14"]


def test_pre_commit_runs_what_make_check_runs() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    checks = re.findall(
        r"^\t\$\(BIN\)/([\w-]+(?: (?:format|check))?)", makefile.split("\ncheck:")[1].split("\n\n")[0], re.MULTILINE
    )
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"] for hook in repository["hooks"]]
    assert len(checks) == 5
    for check in checks:
        assert any(entry.startswith(f".venv/bin/{check}") for entry in hooks), f"no hook runs {check}"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_whole(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in fields}) == len(fields) > 0
    assert all(part["attributes"]["label"] for part in fields)


def test_owned_paths_exist() -> None:
    lines = [
        line.split() for line in (ROOT / ".github" / "CODEOWNERS").read_text("utf-8").splitlines() if line[:1] not in ("", "#")
    ]
    assert lines[0][0] == "*"
    for pattern, *owners in lines:
        assert owners
        assert pattern == "*" or (ROOT / pattern.strip("/")).exists()

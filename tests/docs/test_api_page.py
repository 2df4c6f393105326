"""docs/api.md says what the docstrings say."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import api  # noqa: E402


def test_the_page_is_generated_from_the_docstrings() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "api.py"), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_described() -> None:
    for name in api.MODULES:
        module = import_module(name)
        bare = [public for public in api.public_names(module) if not api.described(getattr(module, public)).strip("` ")]
        assert not bare, f"{name}: no docstring at {', '.join(bare)}"


def test_parameters_and_sentences() -> None:
    def function(first: int, *, second: str = "", **others: int) -> None:
        """Does something
        on two lines. And more.

        Args: none.
        """

    assert api.parameters(function) == "(first, *, second, **others)"
    assert api.described(function) == "Does something on two lines"
    assert api.described({"a": 1}) == "a dict"
    assert api.parameters(inspect) == ""

"""The READMEs' figures are those of the committed records, and both READMEs say the same."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENGLISH, CHINESE = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))


def test_the_tables_are_generated_from_the_records() -> None:
    script = ROOT / "benchmarks" / "readme_tables.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def headings(text: str) -> list[int]:
    """The levels of the headings, in their order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", text, re.MULTILINE)]


def code(text: str) -> list[str]:
    """The indented lines without their comments, which are translated."""
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    return [re.sub(r"\s{2,}# .*", "", line).rstrip() for line in lines]


def generated(text: str) -> dict[str, list[str]]:
    """The numbers in each generated part, in no order: languages differ in theirs."""
    parts = re.findall(r"<!-- (\w+): generated .*?-->\n(.*?)<!-- end of \1 -->", text, re.DOTALL)
    return {name: sorted(re.findall(r"\d+(?:[.,]\d+)*(?:e-?\d+)?", words)) for name, words in parts}


def named(text: str) -> set[str]:
    """What the prose has in backquotes: options, names of networks, recipes and files."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"<!-- (\w+): generated.*?<!-- end of \1 -->", "", text, flags=re.DOTALL)))


def test_both_readmes_have_the_same_headings() -> None:
    assert headings(CHINESE) == headings(ENGLISH)


def test_both_readmes_have_the_same_code() -> None:
    assert code(CHINESE) == code(ENGLISH)


def test_both_readmes_have_the_same_generated_records() -> None:
    ours, theirs = generated(CHINESE), generated(ENGLISH)
    assert ours == theirs
    assert all(ours.values()), "a generated part without a number"


def test_both_readmes_name_the_same_things() -> None:
    assert named(CHINESE) == named(ENGLISH)


def test_both_readmes_link_to_each_other() -> None:
    assert "(README.md)" in CHINESE
    assert "(README.zh-CN.md)" in ENGLISH

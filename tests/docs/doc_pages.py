"""Reading a page of documentation: its blocks, and what HTML comments say about them.

```python and ```sh are run, in the page's own folder and namespace, in their order. ```text after one of them is part of what it prints,
where "..." stands for anything. Comments, which readers of the page do not see:

<!-- test: CODE -->          Python that is run there: what a page needs to find, such as a folder of images
<!-- run with: OPTIONS -->   options that the next block's commands get besides, so that they take seconds
<!-- not run: REASON -->     the next block is read only: options are parsed, names looked up
<!-- file: NAME -->          the next block is written to that file
"""

from __future__ import annotations

import re
import shlex
import textwrap
from dataclasses import dataclass
from pathlib import Path

_PARTS = re.compile(
    r"<!--\s*(?P<about>test|run with|not run|file):(?P<words>.*?)-->|^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A part of a page that is run, read or written."""

    page: str
    line: int
    language: str
    """python, sh, text, yaml, ..."""
    body: str
    options: str = ""
    """Of `run with`."""
    reason: str | None = None
    """Why it is not run."""
    file: str | None = None
    """Where it is written to."""

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self.page}, line {self.line}"


def fenced_blocks(path: Path) -> list[Block]:
    """The blocks of a page whose code is between fences, hidden ones included."""
    text = path.read_text("utf-8")
    blocks: list[Block] = []
    notes: dict[str, str] = {}
    for part in _PARTS.finditer(text):
        line = text.count("\n", 0, part.start()) + 1
        if part["about"] == "test":
            blocks.append(Block(path.name, line, "python", textwrap.dedent(part["words"].strip("\n"))))
        elif part["about"]:
            notes[part["about"]] = part["words"].strip()
        else:
            blocks.append(
                Block(
                    path.name,
                    line,
                    part["language"],
                    part["body"],
                    notes.get("run with", ""),
                    notes.get("not run"),
                    notes.get("file"),
                )
            )
            notes = {}
    assert not notes, f"{path.name} ends with a comment that no block follows: {notes}"
    return blocks


def indented_blocks(path: Path) -> list[Block]:
    """The blocks of a page whose code is indented by four spaces."""
    blocks, gathered, start = [], [], 0
    for number, line in enumerate([*path.read_text("utf-8").splitlines(), "end"], 1):
        if line.startswith("    "):
            start = start or number
            gathered.append(line[4:])
        elif gathered and not line.strip():
            gathered.append("")
        elif gathered:
            body = "\n".join(gathered).strip("\n") + "\n"
            shell = any(re.match(r"(#SBATCH|pip|make|srun|torchrun|resnets) ", text) for text in body.splitlines())
            blocks.append(Block(path.name, start, "sh" if shell else "python", body, reason="it needs data or time"))
            gathered, start = [], 0
    return blocks


def commands(block: Block) -> list[list[str]]:
    """The arguments of each `resnets` command in a block of shell lines, also of those that torchrun starts.

    Raises:
        AssertionError: the block is to be run, and has a line that is no such command.
    """
    found = []
    for line in block.body.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["resnets"]:
            found.append(words[1:] + shlex.split(block.options))
        elif "-m" in words and words[words.index("-m") + 1] == "resnets":
            found.append(words[words.index("-m") + 2 :])
        else:
            assert block.reason is not None or not words, f"{block.place}: only `resnets` commands are run, not {line!r}"
    return found

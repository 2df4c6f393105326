"""How large the house is: lines of Python in each room of src/resnets, and what the tasks' rooms have twice.

python benchmarks/size.py                # the table
python benchmarks/size.py --check        # exit status 1 where two tasks share a run of 15 or more equal lines
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src" / "resnets"
TASKS = ("classification", "detection", "segmentation")
LONGEST_ALLOWED = 14
"""Equal lines that two tasks may share in one run."""


@dataclass(frozen=True)
class Repeat:
    """A run of equal lines in two files; the line numbers count from 1."""

    first: str
    first_line: int
    second: str
    second_line: int
    lines: int

    def __str__(self) -> str:
        ends = (self.first_line + self.lines - 1, self.second_line + self.lines - 1)
        return f"{self.lines:4} lines  {self.first}:{self.first_line}-{ends[0]}  =  {self.second}:{self.second_line}-{ends[1]}"


def room_lines(sources: Path) -> dict[str, tuple[int, int]]:
    """Room -> (files, lines) of Python; modules of the top level are the room "."; the rooms by name."""
    found: dict[str, tuple[int, int]] = {}
    for path in sorted(sources.rglob("*.py")):
        parts = path.relative_to(sources).parts
        room = parts[0] if len(parts) > 1 else "."
        files, lines = found.get(room, (0, 0))
        found[room] = (files + 1, lines + len(path.read_text("utf-8").splitlines()))
    return found


def repeats(sources: Path, rooms: tuple[str, ...] = TASKS, at_least: int = LONGEST_ALLOWED + 1) -> list[Repeat]:
    """Runs of at least so many equal lines, indentation aside, in files of two different rooms, the longest first.

    Files are named relative to `sources`. A run begins and ends with a line that is not blank.
    """
    texts = {
        room: {
            path.relative_to(sources).as_posix(): [line.strip() for line in path.read_text("utf-8").splitlines()]
            for path in sorted((sources / room).rglob("*.py"))
        }
        for room in rooms
    }
    found = [
        Repeat(first, start, second, other, length)
        for one, two in itertools.combinations(rooms, 2)
        for (first, lines), (second, others) in itertools.product(texts[one].items(), texts[two].items())
        for start, other, length in _equal_runs(lines, others)
        if length >= at_least
    ]
    return sorted(found, key=lambda repeat: (-repeat.lines, repeat.first, repeat.first_line, repeat.second))


def _equal_runs(lines: list[str], others: list[str]) -> list[tuple[int, int, int]]:
    """Maximal runs of equal lines: (line in the first, line in the second, length), without blank lines at their ends."""
    places: dict[str, list[int]] = {}
    for number, line in enumerate(others):
        if line:
            places.setdefault(line, []).append(number)
    runs = []
    for start, line in enumerate(lines):
        for other in places.get(line, ()):
            before = 1
            while start >= before and other >= before and lines[start - before] == others[other - before] == "":
                before += 1
            if start >= before and other >= before and lines[start - before] == others[other - before]:
                continue  # within a run that began earlier
            length = 0
            while start + length < len(lines) and other + length < len(others) and lines[start + length] == others[other + length]:
                length += 1
            while not lines[start + length - 1]:
                length -= 1
            runs.append((start + 1, other + 1, length))
    return runs


def main() -> int:
    """Prints the table and the repeats; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="exit status 1 where tasks share a run of 15 or more equal lines")
    options = parser.parse_args()
    rooms = room_lines(SOURCES)
    for room, (files, lines) in sorted(rooms.items(), key=lambda item: -item[1][1]):
        print(f"{room:15} {files:4} files {lines:7,} lines")
    print(f"{'src/resnets':15} {sum(f for f, _ in rooms.values()):4} files {sum(n for _, n in rooms.values()):7,} lines")
    tests = room_lines(ROOT / "tests")
    print(f"{'tests':15} {sum(f for f, _ in tests.values()):4} files {sum(n for _, n in tests.values()):7,} lines")
    found = repeats(SOURCES)
    print(f"runs of {LONGEST_ALLOWED + 1} or more equal lines between {', '.join(TASKS)}: {len(found)}")
    for repeat in found:
        print(repeat)
    return int(options.check and bool(found))


if __name__ == "__main__":
    sys.exit(main())

"""Words that must not come back: `python docs/words.py` names each by file and line, with what to write instead, and fails.

It reads every text file of the checkout but records, licences and damaged inputs of the fuzzer.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNREAD = re.compile(
    r"(results|requirements|tests/fuzz/corpus)/|LICENSE|docs/words\.py|tests/docs/test_forbidden_words\.py|.*\.(svg|gz|png|jpg)"
)
"""Records say what was measured in the words of their time."""
UNIT = r"(second|step|core|class|epoch|image|seed|process|pixel|channel|row|unit|level|stage|batch)"
"""What a rate is of."""
COUNTED = "images|steps|bytes|bits|seconds|operations|values?|[Oo]nce|[Oo]ne|ms|MiB"
RULES = [
    (re.compile(pattern), instead)
    for pattern, instead in [
        (r"(?i)picture", "image"),
        (r"图片", "图像"),
        (r"(?i)\bbehind\b|_behind_", "after, later"),
        (rf"\b({COUNTED}) an? {UNIT}\b(?! time)", "per second, per class, ..."),
        (
            r"\\ taken for|\btaken for what\b|\b(was|were|often) taken for\b|\btaken_for\b",
            "true / predicted class, confusion matrix",
        ),
        (r"\bnone of ours\b", "not a resnets model file"),
        (r"fields that nobody knows", "unknown fields"),
        (r"\bby heart\b", "overfitting"),
        (r"\bis done without\b", "is dropped"),
        (r"\bpaces?\b", "images per second, speed, step time"),
        (r"(?i)\blies?\b", "is, are"),
        (r"\bstands? (in|before|at|above|below|beside|between|there)\b", "is, are, comes"),
        (r"\bspeaks\b", "reports, supports; the main process"),
        (
            r"\b(LeftOut|Survey|survey|ThreadedMaking|ProcessMaking|models_on_disk)\b",
            "UnreadableImages, Probe, ThreadedProducer, model_path",
        ),
    ]
]
"""What must not be written, and what to write."""
ALLOWED = re.compile(
    r"mean_picture|training_pictures"  # fields of model files and of kept plans
    r"|aliases=\[[^]]*\]|AliasChoices\([^)]*\)|.*of older files"  # spellings that are still read
    r'|"webp", "picture"'  # columns of other people's tables
    r"|(left|leaves|leaving)( \w+)? behind|nothing( \w+)* behind|behind their back|lags behind|_nothing_behind"
    r"|pace\.json"
    r"|@renamed_argument\([^)]*\)"
    r"|was called (`[^`]*`(, )?)+|^  `PictureFiles`"  # the changelog names what had another name
)
"""What is right although a rule would find it."""


def text_files() -> Iterator[Path]:
    """The files of the checkout that are read."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in listed:
        if name and not UNREAD.match(name) and (ROOT / name).is_file():
            yield ROOT / name


def found_in(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, word and what to write instead, of each word in a text that must not be there."""
    for number, line in enumerate(text.splitlines(), 1):
        rest = ALLOWED.sub("", line)
        for pattern, instead in RULES:
            for match in pattern.finditer(rest):
                yield number, match[0], instead


def main() -> int:
    """Prints what was found; 1 if anything was."""
    bad = 0
    for path in text_files():
        name = path.relative_to(ROOT)
        if re.search(r"(?i)picture|_behind|models_on_disk", path.name):
            print(f"{name}: the name of the file")
            bad += 1
        for number, word, instead in found_in(path.read_text(encoding="utf-8")):
            print(f"{name}:{number}: {word!r}; write: {instead}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

"""The page of a check: one self-contained file with what was found, shown on the images themselves."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.files import write_atomically
from ..data.doctor.findings import KINDS, SEVERITIES, Checkup, Finding, Kind, Place, shown
from .tables import duration

_FINDINGS_SHOWN = 24
"""Of each kind, with images; the others follow as names."""
_COPIES_SHOWN = 6
"""Of one group of equal images."""
_NAMES_LISTED = 500
"""Of each kind; the others are in the exclusion list or in the output of --json."""
_CLASSES_OPEN = 24
"""Classes up to which their table is unfolded."""


@dataclass(frozen=True)
class _Section:
    """What the page shows of one kind."""

    name: str
    kind: Kind
    shown: list[Finding]
    listed: list[Finding]
    count: int

    @property
    def unlisted(self) -> int:
        """Findings for which there is no room."""
        return self.count - len(self.shown) - len(self.listed)

    @property
    def grouped(self) -> bool:
        """Whether findings are of several images each."""
        return any(len(finding.places) > 1 for finding in self.shown)


def illustrated(checkup: Checkup) -> list[Place]:
    """The images that the page shows, each once, in order."""
    places: dict[Place, None] = {}
    for findings in checkup.by_kind().values():
        for finding in findings[:_FINDINGS_SHOWN]:
            places.update(dict.fromkeys(finding.places[:_COPIES_SHOWN]))
    return sorted(places)


def write_page(path: Path, checkup: Checkup, thumbnails: Mapping[Place, bytes], exclusions: Path | None = None) -> None:
    """Writes the page.

    Args:
        thumbnails: JPEGs of the images that `illustrated` names; one that is missing is shown as a blank.
        exclusions: the list that was written, to be named.

    Raises:
        OSError: it cannot be written.
    """
    from jinja2 import Environment, PackageLoader

    sections = [
        _Section(
            kind, KINDS[kind], found[:_FINDINGS_SHOWN], found[_FINDINGS_SHOWN : _FINDINGS_SHOWN + _NAMES_LISTED], len(found)
        )
        for kind, found in checkup.by_kind().items()
    ]  # fmt: skip
    rows = list(zip(checkup.classes, *checkup.counts.values(), strict=True))
    templates = Environment(loader=PackageLoader("resnets.reports"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    templates.filters["shown"] = shown
    page = templates.get_template("doctor.html").render(
        checkup=checkup,
        summary=checkup.summary(),
        sections=sections,
        severities=SEVERITIES,
        rows=rows,
        most=max((max(counts, default=0) for counts in checkup.counts.values()), default=0),
        classes_open=len(rows) <= _CLASSES_OPEN,
        copies=_COPIES_SHOWN,
        names=_FINDINGS_SHOWN,
        images={place: "data:image/jpeg;base64," + base64.b64encode(jpeg).decode() for place, jpeg in thumbnails.items()},
        exclusions=exclusions,
        duration=duration,
    )
    write_atomically(path, page)

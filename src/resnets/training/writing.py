"""What a run writes while it trains, on a disk that may be full for a while: it warns once, trains on, and tries again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..core.files import disk_advice


class Writing:
    """The writes of a run.

    Args:
        report: is told of the first failure of each file, and of none that follow until it has been written again.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.report = report
        self.failed: dict[Path, OSError] = {}
        """Why each file is not written that should be."""
        self._waiting: dict[Path, Callable[[], None]] = {}

    def attempt(self, path: Path, write: Callable[[], None]) -> bool:
        """Writes what `path` is to hold, and says whether that went well."""
        self._waiting.pop(path, None)
        try:
            write()
        except OSError as error:
            if path not in self.failed:
                what = error.strerror or str(error)
                self.report(f"{what}; {disk_advice(path)}; training goes on, what was written before stays, and it is tried again")
            self.failed[path] = error
            return False
        if self.failed.pop(path, None) is not None:
            self.report(f"{path} is written again")
        return True

    def later(self, path: Path, write: Callable[[], None]) -> None:
        """Has `again` write it."""
        self._waiting[path] = write

    def again(self) -> None:
        """Tries once more what waits."""
        for path, write in list(self._waiting.items()):
            if not self.attempt(path, write):
                self.later(path, write)

    def failures(self) -> str:
        """What is not written, why, and what to do."""
        first = next(iter(self.failed))
        names = ", ".join(path.name for path in self.failed)
        error = self.failed[first]
        return f"{names} could not be written to {first.parent} ({error.strerror or error}); {disk_advice(first)}"


def rescued(model: Path, write: Callable[[Path], None]) -> str:
    """Writes a model that its run directory has no room for into a new folder for temporary files, and says where, as the end of a
    sentence; nothing where there is no room either."""
    folder: Path | None = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"resnets-{model.parent.name}-"))
        write(folder / model.name)
    except OSError:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return ""
    return f"; the model is in {folder / model.name} meanwhile, which the system may clean"

"""Predictions that are drawn into their images: shown as lines or objects, and written into a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..core.files import write_atomically
from ..data.decoding.decode import Pixels
from .options import messages, print_json, print_text


class Predicted(Protocol):
    """What a network said of one image."""

    @property
    def path(self) -> Path: ...
    @property
    def pixels(self) -> Pixels | None: ...
    @property
    def error(self) -> str | None: ...

    def as_json(self) -> dict[str, Any]:
        """One object per image."""


AnyPredicted = TypeVar("AnyPredicted", bound=Predicted)


class Drawings:
    """Where drawn images go: FOLDER/NAME.jpg, and NAME-2.jpg where two images from different folders have one name."""

    def __init__(self, folder: Path | None, images: Sequence[Path], *, as_json: bool) -> None:
        self.folder, self.count, self.as_json = folder, len(images), as_json
        self._taken: set[str] = set()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def all(
        self, predictions: Iterable[AnyPredicted], said: Callable[[AnyPredicted], str], drawn: Callable[[AnyPredicted, Any], Any]
    ) -> int:
        """Shows each prediction, and says with which status the command ends: 1 where an image could not be read."""
        bad = 0
        for image in predictions:
            written = self._write(image, drawn)
            if self.as_json:
                print_json({**image.as_json(), **({} if written is None else {"drawn": str(written)})})
            elif image.error is None:
                print_text(f"{image.path}  {said(image)}")
            if image.error is not None:
                bad += 1
                messages().print(f"skipped {image.path}: {image.error}", soft_wrap=True, markup=False)
        if bad:
            messages().print(f"{bad} of {self.count} images could not be read")
        return 1 if bad else 0

    def _write(self, image: AnyPredicted, drawn: Callable[[AnyPredicted, Any], Any]) -> Path | None:
        if self.folder is None or image.pixels is None:
            return None
        import io

        import PIL.Image

        pixels = image.pixels
        canvas = drawn(image, PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=92)
        path = self.path_for(image.path, ".jpg")
        write_atomically(path, buffer.getvalue())
        return path

    def path_for(self, image: Path, ending: str) -> Path:
        """A free name in the folder for what is made of `image`."""
        assert self.folder is not None, "only asked for where there is a folder"
        name, number = f"{image.stem}{ending}", 1
        while name in self._taken:
            number += 1
            name = f"{image.stem}-{number}{ending}"
        self._taken.add(name)
        return self.folder / name

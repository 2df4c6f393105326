"""The page of a served network: an image in, what the network says of it out, drawn by gradio.

What an image is, is decided by our own reading of it: gradio hands over the file as it was sent. Importing this module imports gradio.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio

from ...core.reading import Refused, read_file
from .gate import own_file
from .samples import Sample
from .served import BARS, BadImage, Served, answer_as_json, guarded

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"
PREVIEW = 640
"""Pixels along the longer side of the image as the page shows it back."""
KEPT_SECONDS = 3600
"""How long an upload stays on disk."""


def build_page(served: Served, samples: Sequence[Sample], *, folder: Path, address: str, limit: str) -> gradio.Blocks:
    """The page, which has the answers for scripts too, under the name "predict".

    Args:
        served: the network.
        samples: images to choose from.
        folder: of uploads; no other file is looked at.
        address: under which the page is reached, without a slash at its end.
        limit: of an upload, in words.
    """
    words: Any = _template().module
    script = words.script(address, ", ".join((*served.fields, "milliseconds")))
    waiting = str(words.waiting(limit, bool(samples)))

    def show(path: Path, view: str | None) -> tuple[str | None, Any, str]:
        """What follows from an image: its file, how it is shown back, and what is said of it."""
        try:
            answer, small = guarded(lambda: (served.answer(path, view=view), preview(path)))
        except BadImage as error:
            return None, None, str(words.failed(path.name, str(error)))
        return str(path), small, str(words.answer(answer, path.name, served.nothing, BARS))

    def uploaded(file: Any, view: str | None) -> tuple[str | None, Any, str]:
        return show(own_file(file.path, folder), view)

    def sampled(view: str | None, event: gradio.SelectData) -> tuple[str | None, Any, str]:
        return show(samples[event.index].path, view)

    def viewed(path: str | None, view: str | None) -> str:
        return waiting if path is None else show(own_file(path, folder), view)[2]

    def cleared() -> tuple[None, str]:
        return None, waiting

    def scripted(image: str | None, top: float | None = BARS) -> dict[str, Any]:
        """What the network says of an image; `top` is the number of classes that a classifier names."""
        if image is None:
            return {"error": "no image was sent"}
        asked = BARS if top is None else top
        if not 1 <= asked < 10**6:  # a NaN is not, either
            return {"error": f"top={asked} is no number of classes"}
        try:
            return answer_as_json(served, own_file(image, folder), int(asked))
        except Refused as error:
            return {"error": str(error)}

    with gradio.Blocks(title=f"{served.title}: resnets", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)) as made:
        gradio.HTML(str(words.head(served)), padding=False)
        chosen = gradio.State(None)
        with gradio.Row(equal_height=False):
            with gradio.Column(scale=4, min_width=300):
                image = gradio.Image(
                    sources=["upload", "clipboard"], show_label=False, height=340, buttons=[], elem_classes="rs-image",
                    elem_id="image", placeholder="# Drop an image\nor press to choose one",
                )  # fmt: skip
                # The file reaches us as it is, and not as gradio would read it. (gradio writes a file beside the source of a subclass.)
                image.preprocess = lambda payload: payload  # type: ignore[method-assign,assignment,return-value]
                gallery = gradio.Gallery(
                    [(str(sample.path), sample.name) for sample in samples], show_label=False, columns=5, height="auto",
                    allow_preview=False, object_fit="cover", buttons=[], elem_classes="rs-samples", elem_id="samples",
                    visible=bool(samples), interactive=False,
                )  # fmt: skip
            with gradio.Column(scale=7, min_width=320):
                views = gradio.Radio(
                    list(served.views), value=served.views[-1] if served.views else None, visible=bool(served.views),
                    label="Grad-CAM of the stage", elem_classes="rs-views", elem_id="views",
                )  # fmt: skip
                said = gradio.HTML(waiting, padding=False, elem_id="said")
        gradio.HTML(str(script), padding=False)
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "minimal", "concurrency_limit": None}
        outputs = [chosen, image, said]
        image.upload(uploaded, [image, views], outputs, show_progress_on=said, **private)
        image.clear(cleared, None, [chosen, said], **private)
        gallery.select(sampled, views, outputs, show_progress_on=said, **private)
        views.input(viewed, [chosen, views], said, show_progress_on=said, trigger_mode="always_last", **private)
        file, top = gradio.File(visible=False, label="image"), gradio.Number(BARS, visible=False, label="top")
        result = gradio.JSON(visible=False)
        gradio.Button(visible=False).click(scripted, [file, top], result, api_name="predict", concurrency_limit=None)
    page: gradio.Blocks = made
    return page


def preview(path: Path) -> Any:
    """The image as a viewer shows it, small, and as squares where its pixels are few; of any kind that can be read."""
    import PIL.Image

    from ...data.decoding.decode import EncodedImage

    pixels = EncodedImage(read_file(path), 3).pixels((PREVIEW, PREVIEW))
    image = PIL.Image.fromarray(pixels)
    if max(image.size) > PREVIEW:
        image.thumbnail((PREVIEW, PREVIEW), PIL.Image.Resampling.LANCZOS)
        return image
    factor = max(1, PREVIEW // (2 * max(image.size)))
    return image.resize((image.width * factor, image.height * factor), PIL.Image.Resampling.NEAREST)


def theme() -> Any:
    """Fonts of the system, and the colours of the reports."""
    fonts = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    base = gradio.themes.Base(primary_hue="blue", neutral_hue="slate", font=fonts[0], font_mono=fonts[1])
    return base.set(body_text_color_subdued="#5c6570", body_text_color_subdued_dark="#9ba5b1")  # legible, as gradio's grey is not


def style() -> str:
    """The page's own style sheet."""
    return (TEMPLATES / "serve.css").read_text(encoding="utf-8")


def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("serve.html")

"""resnets serve: a trained network on a page of this machine's own, for people with a browser and for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from ...core.errors import UserError
from ...deployment.graph.names import is_exported
from ..command import Command
from ..options import messages, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...deployment.engines.engine import Engine
    from ...deployment.serving.samples import Sample
    from ...deployment.serving.served import Served
    from ...networks import Network

_ABOUT = """\
A web page for a trained network: drop an image, see what it says of it and where it looks. Nothing leaves this machine.

Scripts ask the same server, and get one object per image with the fields of --json and the milliseconds:
  curl --data-binary @image.jpg http://127.0.0.1:7860/predict?top=3
or, in Python, gradio_client.Client("http://127.0.0.1:7860").predict(handle_file("image.jpg"), api_name="/predict")
"""
MEGABYTE = 2**20


@dataclass
class ServeOptions:
    """Options of `resnets serve`."""

    model: tyro.conf.Positional[Path]
    """A run directory, a model file of any kind (classifier, detector, segmenter), or an exported classifier (.onnx, .xml, .pt2)."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in, without a password."""
    host_name: tuple[str, ...] = ()
    """Names, besides addresses in numbers, localhost and this machine's own, under which the server may be asked."""
    port: int = 7860
    """Port to listen on; 0 for any free one."""
    max_upload: float = 20.0
    """Largest image that is taken, in megabytes."""
    max_pixels: int = 30_000_000
    """Most pixels of an image that is taken; a file of some kilobytes may have hundreds of millions."""
    samples: Path | None = None
    """Folder of images to choose from on the page; unset: a few of what it was measured on, where that is at hand."""
    score: float = 0.5
    """Smallest probability of what a detector shows, in [0, 1]."""
    device: str = "auto"
    """auto, cpu, cuda, ..."""
    open: bool = False
    """Open the page in the browser."""
    json: bool = False
    """One object with the address on standard output, once the server takes requests."""


def run(options: ServeOptions) -> int:
    """Carries out the command; Ctrl-C is how it ends well."""
    if not options.max_upload > 0 or options.max_upload == float("inf"):
        raise UserError(f"--max-upload {options.max_upload:g} lets no image through; give megabytes, such as 20")
    if not 0 <= options.score <= 1:
        raise UserError(f"--score {options.score:g} is no probability; it must be between 0 and 1")
    from ...deployment.engines.engine import needed

    needed("gradio", "serve")
    from ...deployment.serving.server import address_of, build_app, listen, run_app, upload_folder

    try:
        with upload_folder() as folder, listen(options.host, options.port) as listener:
            served, trained_with = _opened(options)
            served.max_pixels = options.max_pixels
            address = address_of(listener)
            samples = _samples(options, trained_with, folder)
            max_bytes = max(1, round(options.max_upload * MEGABYTE))
            app = build_app(served, samples, folder, address=address, max_bytes=max_bytes, hosts=(options.host, *options.host_name))
            if options.json:
                print_json({"url": address, "model": str(options.model), "predict": f"{address}/predict", "samples": len(samples)})
            else:
                _print_start(address, options.host)
            run_app(app, listener, open_browser=options.open)
    except KeyboardInterrupt:  # before or after the serving
        pass
    return 0


def _opened(options: ServeOptions) -> tuple[Served, Mapping[str, Any]]:
    """The network for the page, and its recipe, as far as it is known.

    Raises:
        ValueError: no such model, or none that a page can show.
    """
    from ...training.session import choose_device
    from ..model_path import model_path

    if is_exported(options.model):
        from ...deployment.engines.opening import open_engine

        engine = open_engine(options.model)
        return _classifier(engine, None, options.model)
    from ...weights.model_file import read_header

    path, device = model_path(options.model), choose_device(options.device)
    kind = read_header(path).get("kind", "classifier")
    if kind == "classifier":
        from ...deployment.engines.models import open_network
        from ...deployment.engines.opening import engine_for

        network, description = open_network(path, device=device)
        # As exactly as `resnets predict`, which says the same of the same image.
        engine = engine_for(network, "torch", exact=True, description=description)
        return _classifier(engine, network, path)
    from ..served_scenes import open_detector, open_segmenter

    if kind == "detector":
        detector = open_detector(path, device, options.score)
        return detector, detector.trained_with
    if kind == "segmenter":
        segmenter = open_segmenter(path, device)
        return segmenter, segmenter.trained_with
    raise UserError(f"{path} is a {kind}, for which there is no page")


def _classifier(engine: Engine, network: Network | None, path: Path) -> tuple[Served, Mapping[str, Any]]:
    from ...deployment.serving.served import ServedClassifier
    from ...training.published import recipe_behind

    known = engine.description.provenance
    return ServedClassifier(engine, network, str(known.get("network") or path.stem)), recipe_behind(path, known.get("recipe", {}))


def _samples(options: ServeOptions, trained_with: Mapping[str, Any], folder: Path) -> list[Sample]:
    """Images to choose from: of the user's folder, or of what the network was measured on, or none, with the reason."""
    from ...deployment.serving.samples import samples_in, samples_of
    from ...training.published import ELSEWHERE

    if options.samples is not None:
        return samples_in(options.samples.expanduser())
    data, place = trained_with.get("data"), trained_with.get("data_folder")
    if not data or str(data).startswith(ELSEWHERE):
        return []
    try:
        where = None if place is None else Path(place)
        if trained_with.get("kind") == "scenes":
            from ..served_scenes import scene_samples

            return scene_samples(str(data), folder, where)
        return samples_of(str(data), folder, data_folder=where)
    except (ValueError, OSError) as error:
        messages().print(f"no samples: {error}", soft_wrap=True, markup=False)
        return []


def _print_start(address: str, host: str) -> None:
    from ..options import results

    console = results()
    lines = (
        f"the page        {address}",
        f"on a command    curl --data-binary @image.jpg '{address}/predict?top=3'",
        "in Python       from gradio_client import Client, handle_file",
        f'                Client("{address}").predict(handle_file("image.jpg"), api_name="/predict")',
    )
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    if host not in ("127.0.0.1", "localhost", "::1"):
        console.print(f"listens on      {host}: whoever reaches this machine may use it; there is no password", soft_wrap=True)
    console.print("Ctrl-C ends it")


COMMAND = Command("serve", ServeOptions, _ABOUT, run)

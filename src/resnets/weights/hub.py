"""Pretrained weights of timm and transformers: from the hub, through huggingface_hub, or from a folder with the same files.

Such a folder holds `config.json` (timm's or transformers'), `model.safetensors` or `pytorch_model.bin`, and for transformers
`preprocessor_config.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UserError
from ..data.decoding.preprocessing import Preprocessing
from ..networks import NetworkSpec
from .download import WeightsUnavailable, offline_reason
from .foreign_file import LoadedWeights, read_foreign
from .layouts import spec_for

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
Find = Callable[[str], Path | None]
"""Gives the path of a file by its name, or None where there is none."""


def read_folder(folder: Path) -> LoadedWeights:
    """The weights in a folder in timm's or transformers' format.

    Raises:
        ValueError: no configuration or no weights, a network that is not residual, or weights that do not fit the configuration.
    """

    def find(name: str) -> Path | None:
        return folder / name if (folder / name).is_file() else None

    return _read(find, str(folder))


def read_from_hub(package: str, repository: str) -> LoadedWeights:
    """The weights of a repository on the hub, kept in huggingface_hub's own cache; RESNETS_OFFLINE=1 reads that alone.

    Args:
        package: "timm" or "transformers".
        repository: owner and name; for timm the name alone means the owner timm.

    Raises:
        WeightsUnavailable: huggingface_hub is not installed, there is no such repository, or it does not answer.
        ValueError: as `read_folder`.
    """
    repository = repository if "/" in repository or package != "timm" else f"timm/{repository}"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
        )  # fmt: skip
    except ImportError as error:
        raise WeightsUnavailable(
            f"weights={package}/... come from the hub and need the package huggingface_hub; pip install 'resnets[hub]', or fetch "
            f"config.json and model.safetensors of {repository} into a folder and name that folder"
        ) from error
    forbidden = offline_reason()

    def find(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=forbidden is not None))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            if name not in ("config.json", WEIGHT_FILES[-1]):
                return None  # of files that a repository need not have, the cache does not say why it has none
            why = f"{forbidden} forbids the network" if forbidden else "the hub does not answer"
            raise WeightsUnavailable(
                f"{name} of {repository} is not in the hub's cache, and {why}; fetch config.json, {WEIGHT_FILES[0]} (or "
                f"{WEIGHT_FILES[1]}) and, for transformers, preprocessor_config.json of {repository} on a machine that can, put them "
                "into a folder, and name the folder as weights"
            ) from error
        except GatedRepoError as error:
            raise WeightsUnavailable(
                f"{repository} is open to those alone who accepted its terms on the hub; log in there"
            ) from error
        except RepositoryNotFoundError as error:
            raise WeightsUnavailable(f"there is no repository {repository!r} on the hub, or it is not public") from error
        except EntryNotFoundError:
            return None
        except HFValidationError as error:
            raise UserError(f"{repository!r} is no name of a repository on the hub: {error}") from None
        except (HfHubHTTPError, OSError) as error:
            raise WeightsUnavailable(f"{name} of {repository} could not be fetched: {' '.join(str(error).split())}") from error

    return _read(find, f"{package}/{repository.removeprefix('timm/') if package == 'timm' else repository}")


def _read(find: Find, origin: str) -> LoadedWeights:
    config_path = find("config.json")
    if config_path is None:
        raise UserError(f"{origin} has no config.json, which says what network its weights are for")
    config = _json(config_path)
    if "architecture" in config:
        layout, spec, preprocessing, classes, notes = "timm", *_timm(config, origin)
    elif config.get("model_type") == "resnet":
        processor = find("preprocessor_config.json")
        layout, spec, preprocessing, classes, notes = (
            "transformers",
            *_transformers(config, _json(processor) if processor else {}, origin),
        )
    else:
        raise UserError(
            f"{origin}: its config.json is neither timm's (with an architecture) nor that of transformers' ResNet (model_type "
            f"{config.get('model_type')!r})"
        )
    path = next((path for name in WEIGHT_FILES if (path := find(name)) is not None), None)
    if path is None:
        raise UserError(f"{origin} has neither {' nor '.join(WEIGHT_FILES)}")
    read = read_foreign(path, layout=layout, network=spec)
    if read.spec.num_classes != spec.num_classes and "num_classes" in config:
        raise UserError(f"{origin}: the weights are for {read.spec.num_classes} classes, config.json says {spec.num_classes}")
    if classes is not None and len(classes) != read.spec.num_classes:
        classes = None
    provenance = {"package": layout, "weights": origin, "config": config.get("architecture") or config.get("model_type")}
    provenance |= {"license": config["license"]} if "license" in config else {}
    return LoadedWeights(origin, read.spec, read.state, layout, classes, preprocessing, {}, provenance, (*read.notes, *notes))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__} where a configuration is wanted")
    return content


Described = tuple[NetworkSpec, Preprocessing | None, tuple[str, ...] | None, list[str]]


def _timm(config: Mapping[str, Any], origin: str) -> Described:
    """Spec, preprocessing, classes and notes of timm's config.json."""
    name = str(config["architecture"])
    if config.get("model_args"):
        raise UserError(f"{origin}: {name} with {config['model_args']} is no network of the zoo that timm names")
    spec = spec_for("timm", name)
    described = {**config, **config.get("pretrained_cfg", {})}
    channels, size, _ = described.get("input_size", (3, spec.input_size, spec.input_size))
    classes = int(config.get("num_classes", described.get("num_classes", spec.num_classes)))
    interpolation, notes = _interpolation(origin, str(described.get("interpolation", "bilinear")))
    preprocessing = None
    if channels in (1, 3):
        preprocessing = Preprocessing(
            size=size,
            resize=None if described.get("crop_mode") == "squash" else math.floor(size / described.get("crop_pct", 0.875)),
            interpolation=interpolation,
            channels=channels,
            mean=tuple(described.get("mean", ())),
            std=tuple(described.get("std", ())),
        )
    names = described.get("label_names")
    labels = tuple(map(str, names)) if names else None
    if labels is None and classes == 1000 and str(described.get("tag", origin)).endswith("in1k"):
        labels = imagenet_classes()
    return spec.updated(num_classes=classes, in_channels=channels), preprocessing, labels, notes


def _transformers(config: Mapping[str, Any], processor: Mapping[str, Any], origin: str) -> Described:
    """The same of transformers' config.json and preprocessor_config.json."""
    kind, depths = config.get("layer_type", "bottleneck"), config.get("depths", [3, 4, 6, 3])
    if config.get("hidden_act", "relu") != "relu":
        raise UserError(f"{origin}: hidden_act is {config['hidden_act']!r}; the units here have ReLU")
    if kind not in ("basic", "bottleneck"):
        raise UserError(f"{origin}: layer_type is {kind!r}, not basic or bottleneck")
    expansion = 4 if kind == "bottleneck" else 1
    labels = config.get("id2label") or {}
    first = 2 if config.get("downsample_in_first_stage") else 1
    channels = config.get("num_channels", 3)
    spec = NetworkSpec(
        residual=kind,
        blocks=tuple(depths),
        width=tuple(size // expansion for size in config.get("hidden_sizes", [256, 512, 1024, 2048])),
        stem_width=config.get("embedding_size", 64),
        strides=(first, *(2,) * (len(depths) - 1)),
        bottleneck_stride="1x1" if config.get("downsample_in_bottleneck") else "3x3",
        in_channels=channels,
        num_classes=len(labels) or 1000,
    )
    names = tuple(str(labels[key]) for key in sorted(labels, key=int)) or None
    if not processor or channels not in (1, 3):
        return spec, None, names, []
    size = processor.get("size", 224)
    size = size.get("shortest_edge", size.get("height", 224)) if isinstance(size, Mapping) else size
    resample = processor.get("resample", 3)
    interpolation, notes = _interpolation(origin, {2: "bilinear", 3: "bicubic"}.get(resample, f"resample={resample}"))
    preprocessing = Preprocessing(
        size=size,
        # ConvNextImageProcessor: below 384 pixels a centred crop, from there on the whole image
        resize=int(size / processor.get("crop_pct", 0.875)) if size < 384 else None,
        interpolation=interpolation,
        channels=channels,
        mean=tuple(processor.get("image_mean", ())),
        std=tuple(processor.get("image_std", ())),
    )
    return spec, preprocessing, names, notes


def _interpolation(origin: str, kind: str) -> tuple[Literal["bilinear", "bicubic"], list[str]]:
    """The nearest interpolation that there is, and what to say where it is another one than the makers'."""
    if kind == "bilinear":
        return "bilinear", []
    if kind == "bicubic":
        return "bicubic", []
    return "bicubic", [f"{origin}: its makers resized with {kind}; images are resized bicubically here, which may cost a little"]


def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet-1K in their usual order, from torchvision."""
    from .catalogue import get_weights

    return get_weights("resnet18/imagenet1k-v1").classes

"""What an exported file says about itself: everything that a model file says of its network, and the form that it was exported in.

Each format has a place for strings by name (ONNX's metadata_props, OpenVINO's rt_info, the extra files of torch.export); the same
strings are in all of them, so that any of the files can be used without its run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from ...core.errors import UserError
from ...core.text import texts, to_json
from ...data.decoding.preprocessing import Preprocessing
from ...networks import Network, NetworkSpec
from ...networks.zoo import explain
from ...weights.model_file import FORMAT

KEYS = ("format", "spec", "classes", "preprocessing", "metrics", "provenance", "form")
"""Names of the strings; all but the last are those of the model file."""


class Form(BaseModel):
    """The form of a network that runs: what it takes, and in which numbers it computes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Literal["images", "uint8"] = "images"
    """images: (N, C, *S) float32, normalised, to logits (N, K). uint8: (N, H, W, C) of the network's size, to labels (N,) int64
    and probabilities (N, K) float32."""
    precision: str = "fp32"
    """Number format of the weights and the arithmetic: fp32, bf16, fp16, int8."""
    size: int | None = None
    """Height and width in pixels that the file is bound to; None where it takes any."""
    folded_norms: int = 0
    """Batch norms that were folded into convolutions."""
    versions: dict[str, str] = {}
    """Packages that made the file, with their versions."""

    @field_validator("input", mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        return "uint8" if value == "pictures" else value  # the word of older files


@dataclass(frozen=True)
class Description:
    """What is known of a network that runs, in whichever engine."""

    spec: NetworkSpec
    classes: tuple[str, ...] | None = None
    """Class names in the logits' order, where they are known."""
    preprocessing: Preprocessing | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    form: Form = field(default_factory=Form)

    def strings(self) -> dict[str, str]:
        """The strings that a file carries, by the names in `KEYS`."""
        return {
            "format": FORMAT,
            "spec": self.spec.model_dump_json(),
            "classes": to_json(self.classes),
            "preprocessing": "null" if self.preprocessing is None else self.preprocessing.model_dump_json(),
            "metrics": to_json(self.metrics),
            "provenance": to_json(self.provenance),
            "form": self.form.model_dump_json(),
        }

    def in_form(self, **changes: Any) -> Description:
        """The same network in another form."""
        return replace(self, form=Form.model_validate({**self.form.model_dump(), **changes}))


def description_of(
    network: Network, metrics: Mapping[str, Any] | None = None, provenance: Mapping[str, Any] | None = None
) -> Description:
    """What a network of ours knows of itself."""
    return Description(network.spec, network.classes, network.preprocessing, metrics or {}, provenance or {})


def from_strings(strings: Mapping[str, str], file: str) -> Description:
    """The description in an exported file.

    Raises:
        ValueError: the file is not a resnets model file, or its strings are damaged; the message names `file`.
    """
    if strings.get("format") != FORMAT:
        raise UserError(f"{file} was not written by `resnets export`: its metadata has no {FORMAT!r}")
    try:
        classes, preprocessing = json.loads(strings["classes"]), strings["preprocessing"]
        description = Description(
            spec=NetworkSpec.model_validate_json(strings["spec"]),
            classes=None if classes is None else texts(classes, "class names"),
            preprocessing=None if preprocessing == "null" else Preprocessing.model_validate_json(preprocessing),
            metrics=json.loads(strings["metrics"]),
            provenance=json.loads(strings["provenance"]),
            form=Form.model_validate_json(strings["form"]),
        )
    except ValidationError as error:
        raise UserError(f"the metadata of {file} is damaged: {explain(error)}") from None
    except (KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"the metadata of {file} is damaged: {' '.join(str(error).split())}") from None
    if description.classes is not None and len(description.classes) != description.spec.num_classes:
        raise UserError(
            f"the metadata of {file} has {len(description.classes)} class names for {description.spec.num_classes} logits"
        )
    return description

"""Loaders of images with boxes and masks, and `open_annotated`, which finds them."""

from .opening import ANNOTATED, open_annotated

__all__ = ["ANNOTATED", "open_annotated"]

"""Images with objects: annotations read and checked, and scenes to learn detection and segmentation from. Importing it loads no torch."""

from .objects import AnnotatedImages, Objects

__all__ = ["AnnotatedImages", "Objects"]

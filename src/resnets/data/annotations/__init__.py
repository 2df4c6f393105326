"""Pictures with objects: annotations read and checked, and scenes to learn detection and segmentation from. Importing it loads no torch."""

from .objects import AnnotatedPictures, Objects
from .opening import ANNOTATED, open_annotated

__all__ = ["ANNOTATED", "AnnotatedPictures", "Objects", "open_annotated"]

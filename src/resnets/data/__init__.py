"""Data: sources (get it), datasets (know it), loaders (feed it), augmentation (on the batch). Importing it loads no torch."""

from .datasets import DATASETS, DatasetInfo, ImageArrays, load, split_holdout
from .errors import DataError
from .sources import SOURCES, cache_directory, locate

__all__ = [
    "DATASETS", "SOURCES", "DataError", "DatasetInfo", "ImageArrays", "cache_directory", "load", "locate", "split_holdout",
]  # fmt: skip

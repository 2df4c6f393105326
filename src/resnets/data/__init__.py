"""Data: sources (get it), datasets (know it), loaders (feed it), augmentation (on the batch). Importing it loads no torch."""

from .datasets.catalogue import DATASETS, DatasetInfo, ImageArrays, load, split_holdout
from .datasets.locate import SOURCES, locate
from .errors import DataError
from .sources.request import cache_directory

__all__ = [
    "DATASETS", "SOURCES", "DataError", "DatasetInfo", "ImageArrays", "cache_directory", "load", "locate", "split_holdout",
]  # fmt: skip

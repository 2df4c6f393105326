"""Pickles of numpy arrays, read as data: see `resnets.safe_pickle`, which stands below this room because data sets need it too."""

from ..safe_pickle import read_array_pickle, unpickle_arrays

__all__ = ["read_array_pickle", "unpickle_arrays"]

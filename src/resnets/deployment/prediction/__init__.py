"""Prediction over images, folders and sets of any size."""

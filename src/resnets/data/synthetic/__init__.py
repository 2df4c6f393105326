"""Scenes to learn detection and segmentation from, made on this machine without a network."""

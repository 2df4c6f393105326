"""Random changes of a batch of images, as settings and arithmetic."""

"""A detection recipe's data on its way to the detector."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..data.annotated.scene_loader import SceneLoader
from ..data.annotations.objects import AnnotatedImages
from ..data.sampling.order import EpochOrder, Share
from ..training.annotated_feed import AnnotatedFeed, open_annotated_feed
from .recipe import DetectionRecipe

DetectionFeed = AnnotatedFeed[SceneLoader]


def open_detection_feed(
    recipe: DetectionRecipe, device: torch.device, share: Share, report: Callable[[str], None]
) -> DetectionFeed:
    """Finds (or makes) the recipe's images and their loaders, for this process's share; raises as `open_annotated_feed` does."""

    def loader(images: AnnotatedImages, learns: bool) -> SceneLoader:
        # Evaluation takes at least one image per process at a time, also where its batches are smaller than the world.
        size = recipe.batch_size if learns else max(recipe.evaluation.batch_size, share.world)
        return SceneLoader(
            images,
            EpochOrder(len(images), size, seed=recipe.seed, drop_last=learns and recipe.drop_last, share=share),
            flip=learns and recipe.flip,
            memory={"auto": "auto", "memory": "on", "stream": "off"}[recipe.loading],  # type: ignore[arg-type]
            workers=recipe.workers,
            device=device,
            max_unreadable=recipe.max_unreadable,
            report=report,
        )

    return open_annotated_feed(recipe.data, recipe.data_folder, loader, report)


def smallest_image(feed: DetectionFeed) -> tuple[int, int]:
    """Height and width in pixels of the smallest image to learn from."""
    images = feed.learnt_from
    return min((images.size_of(i) for i in range(len(images))), key=min)

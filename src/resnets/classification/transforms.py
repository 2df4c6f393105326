"""How a recipe's images look to the network, in training and in evaluation.

Legend: b rows of the batch, C channels, H W height and width in pixels.
"""

from __future__ import annotations

from torch import Tensor

from ..core.errors import UserError
from ..data.augmentation import batch as changes_of_batch
from ..data.augmentation import colour, policies
from ..data.decoding.preprocessing import Preprocessing
from ..data.loaders.protocol import PostNormalize, PreNormalize
from ..data.sampling.draws import Draws
from .recipe import Recipe


def preprocessings(
    recipe: Recipe, size: int, channels: int, mean: tuple[float, ...], std: tuple[float, ...], mean_picture: str = ""
) -> tuple[Preprocessing, Preprocessing]:
    """What makes images the network's input in training, and in evaluation and after the run: the model keeps the second.

    Args:
        recipe: its `image_size` and `evaluation` choose the sizes.
        size: height and width that the recipe may leave to the data.
        channels: C.
        mean, std: of each channel over the training set, in [0, 1] units.
        mean_picture: of the training set, see `preprocessing.encoded`; used where the recipe asks for `pixel_mean`.

    Raises:
        ValueError: the recipe asks for a mean image, but there is none.
    """
    seen = recipe.image_size or size
    values = {"channels": channels, "mean": mean, "std": std} if recipe.normalize else {"channels": channels}
    if recipe.pixel_mean:
        if not mean_picture:
            raise UserError("pixel_mean needs images of one size that fit in memory, which this data is not; leave it off")
        values = {"channels": channels, "mean_picture": mean_picture}
    evaluation = recipe.evaluation
    later = {"size": evaluation.image_size or seen, "resize": evaluation.resize, "interpolation": evaluation.interpolation}
    return Preprocessing.model_validate({"size": seen, **values}), Preprocessing.model_validate({**later, **values})


def augmentations(
    recipe: Recipe, flip_keeps_class: bool, training: Preprocessing, *, cropped: bool = False
) -> tuple[PreNormalize, PostNormalize]:
    """The recipe's changes of the raw and of the normalised batch.

    Args:
        recipe: its `augmentation`.
        flip_keeps_class: whether a mirrored image of this data keeps its class.
        training: what is between the two changes.
        cropped: whether the loader has carried out `augmentation.crop` already.

    Raises:
        ValueError: a change of colours for images without any, or a crop that asks for more pixels than there are.
    """
    settings, policy = recipe.augmentation, recipe.augmentation.policy
    flip = settings.horizontal_flip or ("random" if flip_keeps_class else "off")
    if settings.lighting and training.channels != 3:
        raise UserError("augmentation.lighting shifts colours, but these images are grey; set it to 0")
    settings.crop.box(1000, 1000, training.size, [0.5] * settings.crop.NUMBERS)  # says at once whether the sizes go together
    mean = [255 * value for value in training.mean] or [127.5] * training.channels

    def pre_normalize(images: Tensor, indices: Tensor, epoch: int, draws: Draws) -> Tensor:
        if settings.crop.kind != "off" and not cropped:
            images = changes_of_batch.random_resized_crop(images, settings.crop, training.size, draws)
        if settings.crop_padding:
            images = changes_of_batch.random_crop(images, settings.crop_padding, settings.padding_mode, draws)
        if flip == "random":
            images = changes_of_batch.random_horizontal_flip(images, draws)
        elif flip == "alternate":
            images = changes_of_batch.alternating_horizontal_flip(images, indices, epoch, recipe.seed)
        if policy.kind == "rand-augment":
            images = policies.rand_augment(images, draws, magnitude=policy.magnitude, deviation=policy.deviation, fill=mean)
        elif policy.kind == "trivial-augment":
            images = policies.trivial_augment(images, draws, fill=[0.0] * training.channels)
        if settings.colour_jitter or settings.lighting:
            images = images.float()  # so that nothing is rounded or cut off, as in fb.resnet.torch
        if settings.colour_jitter:
            images = colour.colour_jitter(images, settings.colour_jitter, draws)
        return colour.lighting(images, settings.lighting, draws) if settings.lighting else images

    def post_normalize(images: Tensor, draws: Draws) -> Tensor:
        if settings.erasing:
            images = changes_of_batch.cutout(images, settings.erasing, draws)
        return changes_of_batch.random_erasing(images, settings.random_erasing, draws) if settings.random_erasing else images

    return pre_normalize, post_normalize

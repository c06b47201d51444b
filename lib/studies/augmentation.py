"""Photographs varied at random, so that no epoch sees the same ones."""

import torch
from torch import Tensor
from torch.nn import functional

from studies.images import LUMA


def augment(
    images: Tensor,
    generator: torch.Generator,
    flip: float = 0.5,
    shift: float = 0.1,
    zoom: float = 0.15,
    colour: float = 0.2,
) -> Tensor:
    """Return a random variant of each image, (B, 3, S, S) float in 0..1.

    Args:
        images: (B, 3, S, S), uint8 or float in 0..1, on any device.
        generator: the only source of chance; the same state gives the same variants.
        flip: probability of a left-right mirror image.
        shift: largest move along each axis, as a part of the side.
        zoom: scale between 1 − zoom and 1 + zoom; what lies outside is filled by reflection.
        colour: brightness, contrast and saturation each between 1 − colour and 1 + colour.

    """
    images = images.float().div_(255) if images.dtype == torch.uint8 else images.float()
    count = len(images)

    def chance(low: float, high: float, columns: int) -> Tensor:
        drawn = torch.rand(count, columns, generator=generator, device=generator.device)
        return (low + (high - low) * drawn).to(images.device)

    mirrored = chance(0, 1, 1)[:, 0] < flip
    scale = 1 / chance(1 - zoom, 1 + zoom, 1)
    # grid_sample counts the side of an image from -1 to 1, hence the factor of two.
    move = chance(-2 * shift, 2 * shift, 2)
    gain = chance(1 - colour, 1 + colour, 3)
    if shift or zoom:
        maps = torch.zeros(count, 2, 3, device=images.device)
        maps[:, 0, 0] = torch.where(mirrored, -scale[:, 0], scale[:, 0])
        maps[:, 1, 1] = scale[:, 0]
        maps[:, :, 2] = move
        grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
        images = functional.grid_sample(
            images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
        )
    elif flip:
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return recolour(images, *gain.unbind(1)) if colour else images


def recolour(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Return images (B, 3, S, S) in 0..1 with each factor (B,) applied, in the order given."""
    # Brightness, contrast about the mean grey, and saturation about each pixel's grey are linear
    # in the pixel: together one 3x3 matrix and one offset an image, and one pass over the batch.
    luma = torch.tensor(LUMA, device=images.device)
    flat = images.flatten(2)
    mean_grey = flat.mean(2) @ luma
    own, grey = saturation * contrast * brightness, (1 - saturation) * contrast * brightness
    matrix = own[:, None, None] * torch.eye(3, device=images.device)
    matrix = matrix + grey[:, None, None] * luma
    offset = ((1 - contrast) * brightness * mean_grey)[:, None, None]
    return torch.baddbmm(offset, matrix, flat).clamp_(0, 1).view_as(images)

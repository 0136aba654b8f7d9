"""Distorts a whole batch of images at once: every image gets its own random affine map.

The maps come from the generator that is passed in and from nothing else, so that a seed fixes them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

_FIELD_SIDE = 6  # points at which an elastic field is drawn; between them it is smooth


@dataclass(frozen=True)
class Distortion:
    """The largest change of each kind; every image draws its own, uniformly, between minus and plus that."""

    rotation_deg: float
    shift_px: float
    scale: float
    shear_deg: float
    elastic_px: float = 0
    """Standard deviation of a smooth field by which each part of the image moves on its own."""


def distort(images: Tensor, strength: Distortion, generator: Generator) -> Tensor:
    """Returns float images [n, 1, h, w], each rotated, sheared, scaled and shifted; what comes in is 0."""
    maps = _random_maps(images, strength, generator)  # [n, 2, 3]
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)  # [n, h, w, 2]
    if strength.elastic_px:
        grid = grid + _random_fields(images, strength.elastic_px, generator)
    return functional.grid_sample(images, grid, align_corners=False)


def _random_maps(images: Tensor, strength: Distortion, generator: Generator) -> Tensor:
    n, _, height, width = images.shape
    draw = torch.rand(6, n, generator=generator) * 2 - 1  # [6, n] in -1..1
    angle = draw[0] * math.radians(strength.rotation_deg)
    slant = torch.tan(draw[1] * math.radians(strength.shear_deg))
    x_scale, y_scale = 1 + draw[2:4] * strength.scale
    x_shift = draw[4] * strength.shift_px * 2 / width  # the grid's axes run from -1 to 1
    y_shift = draw[5] * strength.shift_px * 2 / height
    cos, sin = angle.cos(), angle.sin()
    x_row = torch.stack([cos * x_scale, (cos * slant - sin) * y_scale, x_shift], dim=1)
    y_row = torch.stack([sin * x_scale, (sin * slant + cos) * y_scale, y_shift], dim=1)
    return torch.stack([x_row, y_row], dim=1)


def _random_fields(images: Tensor, deviation_px: float, generator: Generator) -> Tensor:
    n, _, height, width = images.shape
    coarse = torch.randn(n, 2, _FIELD_SIDE, _FIELD_SIDE, generator=generator) * deviation_px * 2 / width
    fields = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)  # [n, 2, h, w]
    return fields.permute(0, 2, 3, 1)

"""Images that are no digits, to see whether a network notices: FashionMNIST, and what is drawn here.

Each is uint8 [n, 28, 28], 0 = background, in the form in which a careless caller would send it.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor

from training.errors import DataError
from training.idx import read_images

FASHION_DIR = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts its files."""

_LETTERS = "ACEFGHJKLMNPQRTUVWXYabdefhkmnprtwy"  # without those that are written like a digit
_TURNS_DEG = (-15, -5, 5, 15)
_SIDE, _FRAME, _CANVAS = 28, 20, 140


def strangers(digits: Tensor, fashion_dir: Path = FASHION_DIR) -> dict[str, Tensor]:
    """Returns all sets of images by name; raises DataError as `fashion` does."""
    return {"FashionMNIST": fashion(fashion_dir), **drawn(digits)}


def drawn(digits: Tensor) -> dict[str, Tensor]:
    """Returns the sets that need no files; `digits` [n, 28, 28] are inverted for one of them."""
    noise = torch.randint(0, 256, (1000, _SIDE, _SIDE), generator=Generator().manual_seed(0), dtype=torch.int16)
    return {
        "blank": torch.zeros(1, _SIDE, _SIDE, dtype=torch.uint8),
        "noise": noise.to(torch.uint8),
        "inverted digits": 255 - digits,
        "letters": letters(),
    }


def fashion(directory: Path = FASHION_DIR) -> Tensor:
    """Returns FashionMNIST's 10,000 test images; raises DataError if `directory` doesn't hold them."""
    file = directory / "t10k-images-idx3-ubyte.gz"
    if not file.exists():
        advice = "install Debian's package dataset-fashion-mnist, or name another directory with --fashion-dir"
        raise DataError(file, "no such file", "FashionMNIST's test images", advice)
    return read_images(file)


def letters() -> Tensor:
    """Draws letters in a printed face, each in four slants, centred in a frame of 20 x 20 as MNIST's digits are."""
    return torch.stack([_letter(letter, turn) for letter in _LETTERS for turn in _TURNS_DEG])


def _letter(letter: str, turn_deg: float) -> Tensor:
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    font = ImageFont.load_default(size=80)
    ImageDraw.Draw(canvas).text((_CANVAS / 2, _CANVAS / 2), letter, fill=255, font=font, anchor="mm", stroke_width=2)
    turned = canvas.rotate(turn_deg, Image.Resampling.BICUBIC)
    ink = turned.crop(turned.getbbox())
    ink.thumbnail((_FRAME, _FRAME), Image.Resampling.LANCZOS)
    image = Image.new("L", (_SIDE, _SIDE))
    image.paste(ink, ((_SIDE - ink.width) // 2, (_SIDE - ink.height) // 2))
    return torch.from_numpy(np.array(image))

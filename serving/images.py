"""Brings one PNG or JPEG of a handwritten digit, drawn or photographed, to the form of MNIST.

The design decision: after decoding, every step of `STEPS` takes and returns a picture as float32 [height, width], so
that a reader can follow them in order, and a viewer can show or leave out each one. Before decoding, the file is
walked here and only the parts that decide its pixels reach Pillow: size, animation and truncation are known before
anything is decoded, and broken metadata neither warns nor refuses a good picture.
"""

import io
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

Picture = NDArray[np.float32]

_WORKING_SIDE = 280  # a larger picture is averaged down, by a whole factor, before anything else is done with it
_MAX_ASPECT = 20  # the thinnest "1", cropped tightly, has less
_MAX_SCANS = 64  # of a progressive JPEG: encoders write about 10, and each costs a pass over the whole picture
_MAX_PARTS = 20_000  # segments of a JPEG or chunks of a PNG: Pillow takes microseconds for each
_MIN_CONTRAST = 8  # grey levels between ink and paper; less is what compression makes of an empty page
_FAINTEST_INK = 0.12  # of the darkest: fainter is ringing of JPEG and of sharp resampling
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the markers of segments that hold the size
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """The file is not one usable picture of a digit; the text says what came, what was expected and what to do."""


class _File(NamedTuple):
    essence: bytes  # the file without its metadata
    width: int
    height: int
    orientation: int  # of EXIF, 1 = upright


def read_digit(encoded: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """Reads one PNG or JPEG file of one handwritten digit, of any size, polarity and colour mode.

    Returns [28, 28] in MNIST form: 0 = background, 255 = ink, the digit's longer side 20 pixels, its centre of mass
    in the middle. Raises ImageError, and nothing else, if there is no such picture in the file, if it has more than
    `max_pixels` pixels, or if it is blank. Threads may call it at the same time.
    """
    try:
        file = _walk(encoded)
        _check_size(file, max_pixels)
        picture = _decode(file)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many types; its texts hold addresses and are not for callers
        raise ImageError(
            f"encoded_image ({len(encoded)} bytes) is damaged or truncated; "
            "expected a complete PNG or JPEG; save the picture again"
        ) from error
    for step in STEPS:
        picture = step(picture)
    return np.rint(picture).astype(np.uint8)


def _walk(encoded: bytes) -> _File:
    if encoded.startswith(_PNG):
        return _walk_png(encoded)
    if encoded.startswith(_JPEG):
        return _walk_jpeg(encoded)
    came = f"begins with the bytes {encoded[:8].hex(' ')}" if encoded else "is empty"
    raise ImageError(
        f"encoded_image {came} ({len(encoded)} bytes); expected a PNG or JPEG file; convert the picture to one of these"
    )


def _png_chunks(encoded: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    start, kind = len(_PNG), b""
    while kind != b"IEND":
        end = start + 12 + int.from_bytes(encoded[start : start + 4])
        if end > len(encoded):
            raise EOFError("PNG without its end")
        chunk, kind = encoded[start:end], encoded[start + 4 : start + 8]
        yield kind, chunk[8:-4], chunk
        start = end


def _walk_png(encoded: bytes) -> _File:
    header, orientation = encoded[:33], 1
    if header[12:16] != b"IHDR":
        raise ValueError("PNG without its header")
    parts = [header]
    for kind, content, chunk in _png_chunks(encoded):
        if kind == b"acTL" and int.from_bytes(content[:4]) != 1:
            raise ImageError("encoded_image is an animated PNG; expected a single picture; send one frame")
        if kind == b"eXIf":
            orientation = _orientation(content)
        elif kind in (b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            parts.append(chunk)
    _check_parts(parts)
    width, height = int.from_bytes(header[16:20]), int.from_bytes(header[20:24])
    return _File(b"".join(parts), width, height, orientation)


def _walk_jpeg(encoded: bytes) -> _File:
    parts, size, orientation, start = [encoded[:2]], (0, 0), 1, 2
    while (marker := encoded[start + 1]) != 0xDA:  # scans follow, and nothing that changes the size
        end = start + 2 + int.from_bytes(encoded[start + 2 : start + 4]) if marker != 0xFF else start + 1
        content = encoded[start + 4 : end]
        if encoded[start] != 0xFF or (marker in _JPEG_SIZES and size != (0, 0)):
            raise ValueError("JPEG with a broken segment or two sizes")
        if marker in _JPEG_SIZES:
            size = int.from_bytes(content[3:5]), int.from_bytes(content[1:3])
        elif marker == 0xE1 and content.startswith(b"Exif\0\0"):
            orientation = _orientation(content[6:])
        if marker < 0xE0 or marker in (0xE0, 0xEE):  # of the metadata, only JFIF and Adobe tell how colours are coded
            parts.append(encoded[start:end])
        start = end
    _check_parts(parts)
    if (scans := encoded.count(b"\xff\xda", start)) > _MAX_SCANS:
        raise ImageError(
            f"encoded_image is a JPEG of {scans} scans; expected at most {_MAX_SCANS}; save it without progression"
        )
    return _File(b"".join([*parts, encoded[start:]]), *size, orientation)


def _check_parts(parts: list[bytes]) -> None:
    if len(parts) > _MAX_PARTS:
        raise ImageError(
            f"encoded_image has {len(parts)} parts; expected at most {_MAX_PARTS} chunks or segments; save it again"
        )


def _orientation(exif: bytes) -> int:
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"
    first = int.from_bytes(exif[4:8], order) + 2
    count = int.from_bytes(exif[first - 2 : first], order)
    for entry in range(first, min(first + 12 * count, len(exif)), 12):
        if int.from_bytes(exif[entry : entry + 2], order) == 0x0112:
            return int.from_bytes(exif[entry + 8 : entry + 10], order)
    return 1


def _check_size(file: _File, max_pixels: int) -> None:
    came = f"encoded_image is {file.width} x {file.height} pixels"
    if file.width * file.height > max_pixels:
        raise ImageError(f"{came}; expected at most {max_pixels} pixels in all; make it smaller")
    if max(file.width, file.height) > _MAX_ASPECT * min(file.width, file.height):
        raise ImageError(f"{came}; expected sides that differ by a factor of at most {_MAX_ASPECT}; crop it")
    if max(file.width, file.height) < 2:
        raise ImageError(f"{came}; expected a picture of a digit, best of 28 x 28 or more; send a larger one")


def _decode(file: _File) -> Picture:
    factor = max(1, max(file.width, file.height) // _WORKING_SIDE)
    with Image.open(io.BytesIO(file.essence), formats=("PNG", "JPEG")) as image:
        if image.size != (file.width, file.height):
            raise ValueError("Pillow sees another size than the one that was checked")
        image.draft("L", (file.width // factor, file.height // factor))  # a JPEG is then decoded at part of its size
        factor = max(1, max(image.size) // _WORKING_SIDE)
        grey = _over_paper(image, factor) if image.has_transparency_data else _luminance(image, factor)
    turn = _TURNS.get(file.orientation)
    return np.asarray(grey if turn is None else grey.transpose(turn), np.float32)


def _luminance(image: Image.Image, factor: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits
        return image.convert("F").reduce(factor).point(lambda level: level * (1 / 257) + 0)
    return image.convert("L").reduce(factor)


def _over_paper(image: Image.Image, factor: int) -> Image.Image:
    """Lays a picture with transparency on its own paper if it has one, else on the colour opposite to its ink."""
    if image.mode != "RGBA":
        image = image.convert("RGBA")
    alpha = image.getchannel("A")
    opaque = np.asarray(alpha.reduce(factor), np.float32) * np.float32(1 / 255)
    lit = np.asarray(ImageChops.multiply(image.convert("L"), alpha).reduce(factor), np.float32)
    area = max(float(opaque.sum()), 1)
    tone = float(lit.sum()) / area
    two_tones = float(np.abs(lit - tone * opaque).sum()) / area > _MIN_CONTRAST
    if two_tones and np.median(_frame(opaque)) > 0.5:
        behind = float(np.median(_frame(lit)))
    else:
        behind = 255 if tone < 128 else 0
    return Image.fromarray(lit + (1 - opaque) * behind)


def brighten_ink(picture: Picture) -> Picture:
    """Turns a picture round if its paper is brighter than its ink."""
    rest = picture - _paper(picture)
    # The third power: noise and light cancel out, and even a thin line stands far from the paper.
    return picture if (rest**3).sum() >= 0 else 255 - picture


def remove_paper(picture: Picture) -> Picture:
    """Leaves the ink, 0 elsewhere: a drawing only loses its paper's level, a photo is searched for ink."""
    paper = _paper(picture)
    if _is_even(picture):
        return np.asarray(np.maximum(picture - paper, 0))
    paper = paper + _shadows(picture - paper)
    # The same ink is weaker where there is less light, by as much as the paper is.
    ink = np.asarray((picture - paper) * 255 / np.maximum(255 - paper, 32), np.float32)
    return _drop_specks(_blur(ink))


def _is_even(picture: Picture) -> bool:
    """Tells a drawing from a photo by the frame: at least half of a drawing's is exactly one level."""
    frame = _frame(picture)
    return bool(np.median(np.abs(frame - np.median(frame))) <= 1)


def _frame(picture: Picture) -> Picture:
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def _paper(picture: Picture) -> Picture:
    """Estimates the paper's brightness: one level, or a quadratic surface through all that is not ink."""
    if _is_even(picture):
        return np.full_like(picture, np.median(_frame(picture)))
    y, x = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(-1, 1, 32), indexing="ij")
    terms = np.stack([x**0, x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    levels = np.asarray(_resize(picture, 32, 32), np.float64).ravel()
    weights = np.ones(levels.size)
    for _ in range(6):
        surface = terms @ np.linalg.solve((terms.T * weights) @ terms, (terms.T * weights) @ levels)
        rest = np.abs(levels - surface)
        weights = np.where(rest <= 3 * np.median(rest) + 1, 1.0, 1e-6)  # ink no longer counts
    return _resize(surface.reshape(32, 32).astype(np.float32), *picture.shape)


def _shadows(ink: Picture) -> Picture:
    """Finds what is wider than a stroke: a third of the picture's shorter side."""
    height, width = ink.shape
    small = Image.fromarray(ink).reduce(max(1, round(min(height, width) / 48)))
    window = min(small.size) // 3 | 1
    wide = small.filter(ImageFilter.MinFilter(window)).filter(ImageFilter.MaxFilter(window))
    return _resize(np.asarray(wide), height, width)


def _drop_specks(ink: Picture) -> Picture:
    """Leaves the large pieces of ink; nothing if they do not stand out from noise, or are too small for a digit."""
    ink = ink - np.median(ink)
    noise = 1.5 * np.median(np.abs(ink))
    threshold = _threshold(ink)
    pieces = _pieces(ink > threshold)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # outside
    extent = max(np.ptp(side) + 1 for side in np.nonzero(pieces == sizes.argmax()))
    if threshold < max(5 * noise, _MIN_CONTRAST) or extent < min(ink.shape) / 20:
        return np.zeros_like(ink)
    kept = sizes[pieces] > sizes.max() / 10
    soft_edge = _blur(_blur(kept.astype(np.float32))) > 0
    return np.where(soft_edge, np.clip(ink * (255 / ink[kept].mean()), 0, 255), 0).astype(np.float32)


def _threshold(ink: Picture) -> float:
    """Finds the level half-way between the means of what is above and below it."""
    level = float(ink.max()) / 2
    for _ in range(10):
        above = ink > level
        if not above.any():
            break
        level = float(ink[above].mean() + ink[~above].mean()) / 2
    return level


def _pieces(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Numbers the connected pieces of a mask, each by one of its pixels; 0 is outside."""
    inside = np.pad(mask, 1)
    row = inside.shape[1]
    flat = inside.ravel()
    starts = [(np.flatnonzero(flat[:-step] & flat[step:]), step) for step in (1, row - 1, row, row + 1)]
    a = np.concatenate([start for start, _ in starts])
    b = np.concatenate([start + step for start, step in starts])
    root = np.arange(flat.size)
    while a.size:  # join neighbours, then point every pixel at its piece's root: few rounds, whatever the shape
        np.minimum.at(root, np.maximum(root[a], root[b]), np.minimum(root[a], root[b]))
        while not np.array_equal(root, further := root[root]):
            root = further
        apart = root[a] != root[b]
        a, b = a[apart], b[apart]
    return np.where(inside, root.reshape(inside.shape), 0)[1:-1, 1:-1]


def _blur(picture: Picture) -> Picture:
    wide = np.pad(picture, 1, mode="edge")
    rows = (wide[:-2] + 2 * wide[1:-1] + wide[2:]) / 4
    return np.asarray((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4)


def _resize(picture: Picture, height: int, width: int) -> Picture:
    """Averages areas where a picture shrinks, and interpolates where it grows."""
    grows = height * width > picture.size
    method = Image.Resampling.BILINEAR if grows else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize((width, height), method))


def crop_to_ink(picture: Picture) -> Picture:
    """Cuts out the tight box around the ink; raises ImageError if there is none."""
    peak = float(picture.max())
    if peak < _MIN_CONTRAST:
        raise ImageError("encoded_image is blank; expected a digit that stands out from its background; draw one")
    rows, columns = picture.max(axis=1), picture.max(axis=0)
    extents = (np.ptp(np.flatnonzero(side > _FAINTEST_INK * peak)) + 1 for side in (rows, columns))
    half_pixel = round(max(extents) / 40)  # of the 20 that the longer side will have
    top, left = (_edge(side, half_pixel, peak) for side in (rows, columns))
    bottom, right = (side.size - _edge(side[::-1], half_pixel, peak) for side in (rows, columns))
    return picture[top:bottom, left:right]


def _edge(profile: Picture, half_pixel: int, peak: float) -> int:
    """Finds where ink begins, with hard or soft edges: where it has 0.4 of what comes half a pixel later."""
    later = profile[np.minimum(np.arange(profile.size) + half_pixel, profile.size - 1)]
    return int(np.argmax((profile > _FAINTEST_INK * peak) & (profile >= 0.4 * later)))


def fit_20_pixels(picture: Picture) -> Picture:
    """Brings the longer side to 20 pixels, the shorter in proportion."""
    height, width = (max(1, round(20 * side / max(picture.shape))) for side in picture.shape)
    return _resize(picture, height, width)


def stretch_to_255(picture: Picture) -> Picture:
    """Brings the strongest ink to 255."""
    return picture * np.float32(255 / picture.max())


def centre_mass(picture: Picture) -> Picture:
    """Pastes into [28, 28], so that the centre of mass lies within half a pixel of row and column 14, as in MNIST."""
    placed = np.zeros((28, 28), np.float32)
    corner = []
    for axis, length in enumerate(picture.shape):
        mass = picture.sum(axis=1 - axis)
        centre = float(mass @ np.arange(length) / mass.sum())
        corner.append(min(max(int(14.5 - centre), 0), 28 - length))  # all of the digit stays inside
    top, left = corner
    placed[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return placed


STEPS: tuple[Callable[[Picture], Picture], ...] = (
    brighten_ink,
    remove_paper,
    crop_to_ink,
    fit_20_pixels,
    stretch_to_255,
    centre_mass,
)

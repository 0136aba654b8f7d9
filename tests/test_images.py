"""Pictures of digits, drawn and photographed, come out in the form of MNIST; anything else is one ImageError."""

import io
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from serving.images import STEPS, ImageError, read_digit

Bytes = NDArray[np.uint8]
MAX_PIXELS = 16_000_000
NEAREST, BICUBIC, LANCZOS = Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
UPRIGHT_TO_STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.T,
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].T,
    8: lambda a: np.rot90(a, -1),
}


def encode(picture: Bytes | Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    image.save(file, kind, **options)
    return file.getvalue()


def read(encoded: bytes) -> Bytes:
    """The digit in the file, under the default limit."""
    return read_digit(encoded, max_pixels=MAX_PIXELS)


def drawn_five(side: int = 280, width: int = 20) -> Bytes:
    """A five in white strokes on black; no symmetry maps it to itself."""
    image = Image.new("L", (280, 280))
    pen = ImageDraw.Draw(image)
    pen.line([(190, 60), (110, 60), (105, 130)], 255, width, joint="curve")
    pen.arc((90, 120, 190, 220), 200, 500, 255, width)
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def distance(a: Bytes, b: Bytes) -> float:
    """Mean difference of two images, in grey levels."""
    return float(np.abs(a.astype(int) - b).mean())


FIVE = drawn_five()
FIVE_PNG, FIVE_JPEG = encode(FIVE), encode(FIVE, "JPEG")


@pytest.fixture(scope="module")
def classify(released_model: Path) -> Callable[[Bytes], NDArray[np.intp]]:
    """The released model: images [n, 28, 28] -> digits [n]."""
    session = onnxruntime.InferenceSession(released_model / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0].argmax(axis=1)


def render(digit: Bytes, method: Image.Resampling, ink: int, margin: int) -> bytes:
    """An MNIST image as somebody would draw it, 280 pixels a side and more."""
    large = np.pad(np.asarray(Image.fromarray(digit).resize((280, 280), method)), margin)
    return encode(large if ink else 255 - large, compress_level=1)


@pytest.mark.parametrize(
    ("method", "ink", "margin"),
    [(NEAREST, 255, 0), (NEAREST, 0, 37), (BICUBIC, 0, 0), (LANCZOS, 255, 37)],
)
def test_mnist_rendered_large_is_recognised_as_well_as_mnist(
    classify: Callable[[Bytes], NDArray[np.intp]],
    mnist_test_set: tuple[Bytes, Bytes],
    method: Image.Resampling,
    ink: int,
    margin: int,
) -> None:
    """Of 1,000 test digits, drawn in either polarity, at most 4 more than in MNIST's own form are mistaken."""
    images, labels = (part[::10] for part in mnist_test_set)
    came_out = np.stack([read(render(image, method, ink, margin)) for image in images])
    lost = (classify(images) == labels).sum() - (classify(came_out) == labels).sum()
    assert lost <= 4, f"{lost} of {len(labels)} lost"
    if method == NEAREST:
        unmoved = np.mean([distance(a, b) < 1 for a, b in zip(came_out, images, strict=True)])
        assert unmoved >= 0.95, f"only {unmoved:.1%} came out where and as they were"


def test_mnist_form_passes_nearly_unchanged(mnist_test_set: tuple[Bytes, Bytes]) -> None:
    """A 28 x 28 picture that already has the form comes out as it went in, in either polarity."""
    images = mnist_test_set[0][::20]
    for polarity in (0, 255):
        same = np.mean([distance(read(encode(image ^ polarity)), image) < 1 for image in images])
        assert same >= 0.98


def photograph(digit: Bytes, seed: int, *, soft_shadow: bool = False, chalk: bool = False) -> bytes:
    """A synthetic photo: a digit somewhere on grained paper in uneven light, with specks, noise and compression."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:480j, -1:1:640j]
    angle = random.uniform(0, 2 * np.pi)
    across = np.cos(angle) * x + np.sin(angle) * y
    light = 150 + 70 / (1 + np.exp(-30 * across)) if soft_shadow else 165 - 45 * across - 25 * (x * x + y * y)
    cover = np.zeros((480, 640))
    top, left = random.integers(0, 480 - 364), random.integers(0, 640 - 364)
    pen = Image.fromarray(digit).resize((364, 364), BICUBIC).point(lambda level: min(255, max(0, level * 3 - 270)))
    cover[top : top + 364, left : left + 364] = np.asarray(pen.filter(ImageFilter.GaussianBlur(1))) / 255
    reflected = light * (0.2 + 0.7 * cover if chalk else 1 - 0.7 * cover)
    grain = random.normal(0, 4, (120, 160)).repeat(4, axis=0).repeat(4, axis=1)
    for speck_y, speck_x in random.uniform(-1, 1, (8, 2)):
        reflected[(240 * (y - speck_y)) ** 2 + (320 * (x - speck_x)) ** 2 < 9] *= 1.8 if chalk else 0.5
    seen = reflected + grain + random.normal(0, 6, reflected.shape)
    return encode(np.clip(seen, 0, 255).astype(np.uint8), "JPEG", quality=70)


@pytest.mark.parametrize("kind", [{}, {"soft_shadow": True}, {"chalk": True}], ids=["light", "shadow", "chalk"])
def test_photographed_digits_stay_recognised(
    classify: Callable[[Bytes], NDArray[np.intp]], mnist_test_set: tuple[Bytes, Bytes], kind: dict[str, bool]
) -> None:
    """Of 100 digits photographed in bad light, on grained paper with specks, at least 94 % are recognised."""
    images, labels = (part[::100] for part in mnist_test_set)
    came_out = np.stack([read(photograph(image, seed, **kind)) for seed, image in enumerate(images)])
    right = (classify(came_out) == labels).mean()
    assert right >= 0.94, f"{right:.1%}"


@pytest.mark.parametrize("kind", [{}, {"soft_shadow": True}, {"chalk": True}], ids=["light", "shadow", "chalk"])
def test_photographed_empty_paper_is_blank(kind: dict[str, bool]) -> None:
    """Grain, noise, specks and shadows of empty paper are no digit."""
    for seed in range(5):
        with pytest.raises(ImageError, match="blank"):
            read(photograph(np.zeros((28, 28), np.uint8), seed, **kind))


def test_uneven_light_without_any_noise_leaves_the_digit_alone() -> None:
    """A perfect gradient behind a digit is removed, and nothing of the digit with it."""
    light = np.linspace(90, 240, 280)[:, None] * np.ones(280)
    photo = (light * (1 - 0.8 * FIVE / 255)).astype(np.uint8)
    assert distance(read(encode(photo)), read(FIVE_PNG)) < 6


def test_form_of_mnist() -> None:
    """The longer side is 20 pixels, the peak 255, the surroundings 0, and the centre of mass in the middle."""
    digit = read(FIVE_PNG)
    assert digit.shape == (28, 28)
    assert digit.dtype == np.uint8
    assert digit.max() == 255
    extents = [np.ptp(np.flatnonzero(digit.any(axis=axis))) + 1 for axis in (0, 1)]
    assert max(extents) == 20
    mass = [digit.sum(axis=axis) @ np.arange(28) / digit.sum() for axis in (0, 1)]
    assert all(13.5 <= centre <= 14.5 for centre in mass), mass


@pytest.mark.parametrize("level", [0, 1, 100, 255])
@pytest.mark.parametrize("size", [(28, 28), (3, 2), (500, 300)])
def test_blank_pictures_are_refused(level: int, size: tuple[int, int]) -> None:
    """A picture of one level is blank, whatever the level; so is a fully transparent one."""
    blank = Image.new("L", size, level)
    transparent = Image.new("LA", size, (level, 0))
    for encoded in (encode(blank), encode(blank, "JPEG"), encode(transparent)):
        with pytest.raises(ImageError, match=r"blank; expected .*; draw one"):
            read(encoded)


def test_faint_marks_of_16_bits_are_blank() -> None:
    """What 8 bits could hardly show is no ink in 16 bits either."""
    page = np.full((100, 100), 30_000, np.uint16)
    page[40:60, 40:60] += 5 * 257
    with pytest.raises(ImageError, match="blank"):
        read(encode(Image.fromarray(page)))


def test_all_of_a_photographed_stroke_is_one_piece() -> None:
    """A thin end of a heavy stroke is no speck, however it winds."""
    image = Image.new("L", (280, 280))
    pen = ImageDraw.Draw(image)
    pen.ellipse((20, 150, 100, 230), 255)
    pen.line([(60, 200), (240, 200)], 255, 4)
    pen.line([(205, 180), (205, 200)], 255, 4)
    noise = np.random.default_rng(0).normal(0, 4, (280, 280))
    digit = read(encode(np.clip(200 - 0.6 * np.asarray(image) + noise, 0, 255).astype(np.uint8)))
    assert distance(digit, read(encode(image))) < 2


def in_every_mode(five: Bytes) -> dict[str, bytes]:
    """The same digit in every mode and coding that the two formats have and Pillow writes."""
    grey, paper = Image.fromarray(five), np.zeros_like(five)
    palette = Image.fromarray((five > 127).astype(np.uint8))
    palette.putpalette([30, 60, 90, 255, 250, 240])
    return {
        "1": encode(grey.convert("1", dither=Image.Dither.NONE)),
        "L": encode(grey),
        "RGB": encode(grey.convert("RGB"), optimize=True),
        "LA black ink on nothing": encode(Image.merge("LA", (Image.fromarray(paper), grey))),
        "LA white ink on nothing": encode(Image.merge("LA", (Image.fromarray(paper + 255), grey))),
        "RGBA red ink on nothing": encode(np.dstack([paper + 200, paper, paper, five])),
        "RGBA yellow ink on nothing": encode(np.dstack([paper + 255, paper + 240, paper, five])),
        "RGBA opaque": encode(grey.convert("RGBA")),
        "P": encode(palette),
        "P clear paper": encode(palette, transparency=0),
        "P half clear": encode(palette, transparency=b"\x00\x80"),
        "L clear level": encode(grey, transparency=0),
        "1 clear level": encode(grey.convert("1", dither=Image.Dither.NONE), transparency=0),
        "RGB clear colour": encode(grey.convert("RGB"), transparency=(0, 0, 0)),
        "I;16": encode(Image.fromarray(five.astype(np.uint16) * 257)),
        "I;16 of a 12-bit camera": encode(Image.fromarray(five.astype(np.uint16) * 16)),
        "JPEG": encode(grey, "JPEG", quality=95),
        "JPEG progressive": encode(grey.convert("RGB"), "JPEG", quality=95, progressive=True),
        "JPEG CMYK": encode(grey.convert("RGB").convert("CMYK"), "JPEG", quality=95),
        "JPEG RGB": encode(grey.convert("RGB"), "JPEG", quality=95, keep_rgb=True),
        "MPO": encode(grey.convert("RGB"), "MPO", quality=95, save_all=True, append_images=[grey.convert("RGB")]),
    }


@pytest.mark.parametrize("mode", in_every_mode(FIVE))
@pytest.mark.parametrize("inverted", [False, True])
def test_every_mode_gives_the_same_digit(mode: str, inverted: bool) -> None:
    """Colour mode, transparency, bit depth and coding do not matter, and neither does polarity."""
    inverts = inverted and "on nothing" not in mode and "clear" not in mode
    encoded = in_every_mode(255 - FIVE if inverts else FIVE)[mode]
    assert distance(read(encoded), read(FIVE_PNG)) < 4


def test_transparent_corners_do_not_change_the_paper() -> None:
    """A screenshot with rounded corners is read by its own paper, not by the colour behind its corners."""
    opaque = Image.new("L", (280, 280))
    ImageDraw.Draw(opaque).rounded_rectangle((0, 0, 279, 279), 40, 255)
    screenshot = Image.merge("LA", (Image.fromarray(255 - FIVE), opaque))
    assert distance(read(encode(screenshot)), read(FIVE_PNG)) < 1


@pytest.mark.parametrize("orientation", UPRIGHT_TO_STORED)
@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("PNG", "RGBA"), ("JPEG", "L")])
def test_exif_orientation_is_undone(orientation: int, kind: str, mode: str) -> None:
    """A picture stored turned or mirrored, as phones do, comes out upright."""
    exif = Image.Exif()
    exif[0x010F] = "a maker before the orientation"
    exif[0x0112] = orientation
    little = exif.tobytes()
    big = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0" + bytes([orientation]) + bytes(6)
    for written in (little, big):
        stored = Image.fromarray(np.ascontiguousarray(UPRIGHT_TO_STORED[orientation](FIVE)))
        encoded = encode(stored.convert(mode), kind, exif=written)
        assert distance(read(encoded), read(FIVE_PNG)) < 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # the server keeps Pillow's warnings from its log
@pytest.mark.parametrize(
    "exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_broken_metadata_does_not_refuse_a_good_picture(exif: bytes) -> None:
    """Metadata decides at most the orientation; where it makes no sense, the picture is upright."""
    for kind in ("PNG", "JPEG"):
        assert distance(read(encode(FIVE, kind, exif=exif)), read(FIVE_PNG)) < 1


def covers_the_five(digit: Bytes) -> float:
    """The share of the strokes of the five that has ink within two pixels."""
    near = np.asarray(Image.fromarray(digit).filter(ImageFilter.MaxFilter(5)))
    return float((near > 60)[read(FIVE_PNG) > 200].mean())


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("photographed", [False, True])
def test_thin_lines_are_not_lost(width: int, photographed: bool) -> None:
    """A pen a hundredth of the digit wide still leaves a connected digit with ink at full strength."""
    picture = drawn_five(width=width)
    if photographed:
        width_of_pen = max(width, 3)  # what a camera resolves
        noise = np.random.default_rng(0).normal(0, 4, (280, 280))
        light = np.linspace(140, 220, 280)
        picture = np.clip(light * (1 - 0.7 * drawn_five(width=width_of_pen) / 255) + noise, 0, 255).astype(np.uint8)
    assert covers_the_five(read(encode(picture))) > 0.9


def test_a_thin_line_in_a_large_picture_is_not_lost() -> None:
    """Averaging 16 megapixels down leaves a line of four pixels standing."""
    large = np.asarray(
        Image.fromarray(drawn_five(width=1)).resize((4000, 4000), NEAREST).filter(ImageFilter.MinFilter(9))
    )
    assert covers_the_five(read(encode(large, compress_level=1))) > 0.9


def test_digit_touching_the_border() -> None:
    """A digit cropped tightly is the same digit, in either polarity."""
    rows, columns = np.flatnonzero(FIVE.any(axis=1)), np.flatnonzero(FIVE.any(axis=0))
    tight = FIVE[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    for picture in (tight, 255 - tight):
        assert distance(read(encode(picture)), read(FIVE_PNG)) < 1


@pytest.mark.parametrize(("side", "limit"), [(8, 32), (12, 24), (20, 16), (56, 8)])
def test_small_pictures_are_enlarged(side: int, limit: float) -> None:
    """A picture of a few pixels gives a blurred digit of the same form."""
    assert distance(read(encode(drawn_five(side, width=30))), read(encode(drawn_five(width=30)))) < limit


@pytest.mark.parametrize("size", [(2, 2), (1, 20), (40, 2), (3, 3)])
def test_tiny_pictures_with_ink_have_the_form(size: tuple[int, int]) -> None:
    """A single pixel can be ink, if most of the others are not."""
    picture = Image.new("L", size)
    picture.putpixel((size[0] - 1, size[1] - 1), 255)
    assert read(encode(picture)).max() == 255


def test_a_slim_digit_stays_inside() -> None:
    """A digit whose mass lies at one end is centred only as far as all of it stays in the picture."""
    picture = np.zeros((280, 280), np.uint8)
    picture[20:260, 138:142] = 255
    picture[20:60, 80:200] = 255
    digit = read(encode(picture))
    assert np.ptp(np.flatnonzero(digit.any(axis=1))) == 19


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and holds no pixel."""
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def jpeg_with_scans(scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    encoded = encode(FIVE, "JPEG", progressive=True)
    last = encoded.rindex(b"\xff\xda")
    return encoded[:-2] + encoded[last:-2] * (scans - encoded.count(b"\xff\xda")) + encoded[-2:]


def apng() -> bytes:
    """An animation of two frames."""
    return encode(Image.fromarray(FIVE), save_all=True, append_images=[Image.fromarray(255 - FIVE)])


SMALLER_ONE_BEHIND = FIVE_PNG[:-12] + chunk(b"IHDR", png_of(28, 28)[16:29]) + FIVE_PNG[-12:]
TWO_SIZES = FIVE_JPEG[:2] + b"\xff\xc0\0\x0b\x08\0\x1c\0\x1c\1\1\x11\0" + FIVE_JPEG[2:]


@pytest.mark.parametrize(
    ("encoded", "text"),
    [
        (b"", r"is empty .*; expected a PNG or JPEG file; convert"),
        (encode(FIVE, "GIF"), r"begins with the bytes 47 49 46 38 .*; expected a PNG or JPEG"),
        (encode(FIVE, "BMP"), r"begins with the bytes 42 4d"),
        (FIVE.tobytes(), r"begins with the bytes 00 00 .*\(78400 bytes\)"),
        (png_of(4001, 4000), r"is 4001 x 4000 pixels; expected at most 16000000 pixels"),
        (png_of(2**31 - 1, 2**31 - 1), r"expected at most 16000000 pixels"),
        (png_of(20_000, 4), r"expected sides that differ by a factor of at most 20; crop it"),
        (png_of(1, 1), r"is 1 x 1 pixels; .*; send a larger one"),
        (png_of(28, 28), r"damaged or truncated"),
        (FIVE_PNG[:8], r"damaged or truncated"),
        (FIVE_PNG[:-200], r"damaged or truncated"),
        (FIVE_JPEG[: len(FIVE_JPEG) // 2], r"damaged or truncated"),
        (apng(), r"animated PNG; expected a single picture"),
        (jpeg_with_scans(65), r"65 scans; expected at most 64"),
        (TWO_SIZES, r"damaged or truncated"),
    ],
)
def test_refusals_say_what_came_and_what_to_do(encoded: bytes, text: str) -> None:
    """Whatever is refused, the text names it in the caller's terms and shows nothing of Pillow or of memory."""
    with pytest.raises(ImageError, match=f"^encoded_image .*{text}") as refusal:
        read(encoded)
    assert " at 0x" not in str(refusal.value)


def test_the_size_that_is_checked_is_the_size_that_is_decoded() -> None:
    """A second, smaller header cannot pass a large picture by the limit."""
    with pytest.raises(ImageError, match="280 x 280 pixels; expected at most 1000"):
        read_digit(SMALLER_ONE_BEHIND, max_pixels=1000)
    assert distance(read(SMALLER_ONE_BEHIND), read(FIVE_PNG)) == 0


def test_a_picture_of_exactly_the_limit_is_read() -> None:
    """The limit itself is allowed."""
    assert read_digit(FIVE_PNG, max_pixels=280 * 280).max() == 255
    with pytest.raises(ImageError, match="pixels in all"):
        read_digit(FIVE_PNG, max_pixels=280 * 280 - 1)


def test_a_text_that_would_decompress_to_megabytes_is_refused() -> None:
    """Pillow stops at its limit, long before memory is gone."""
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2**24)))
    with pytest.raises(ImageError, match="damaged or truncated"):
        read(FIVE_PNG[:33] + bomb + FIVE_PNG[33:])


def digit_or_refusal(encoded: bytes) -> None:
    """Passes for the only two outcomes there are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            digit = read(encoded)
        except ImageError:
            return
    assert digit.shape == (28, 28)
    assert digit.dtype == np.uint8
    assert digit.max() == 255


SMALL_FILES = {
    "png": encode(drawn_five(32)),
    "palette": in_every_mode(drawn_five(32))["P half clear"],
    "jpeg": encode(drawn_five(32), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"),
    "progressive": encode(drawn_five(32), "JPEG", progressive=True),
    "animated": apng()[:600],
}


@pytest.mark.parametrize("name", SMALL_FILES)
def test_every_truncation_is_a_digit_or_a_refusal(name: str) -> None:
    """A file cut off anywhere never crashes, and one that lacks a fifth or more is refused."""
    whole = SMALL_FILES[name]
    for length in range(len(whole)):
        digit_or_refusal(whole[:length])
        if length < 0.8 * len(whole):
            with pytest.raises(ImageError):
                read(whole[:length])


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", FIVE_PNG[:33]]))
@example(b"\xff\xda", b"\xff\xd8\xff")
def test_any_bytes_are_a_digit_or_a_refusal(tail: bytes, head: bytes) -> None:
    """Bytes of any kind, also behind a true beginning, never do anything else."""
    digit_or_refusal(head + tail)


@given(st.sampled_from(sorted(SMALL_FILES)), st.data())
def test_damaged_files_are_a_digit_or_a_refusal(name: str, data: st.DataObject) -> None:
    """A true file with bytes changed, with the checksums of a PNG made good again, never does anything else."""
    damaged = bytearray(SMALL_FILES[name])
    changes = data.draw(
        st.lists(st.tuples(st.integers(8, len(damaged) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    )
    for position, value in changes:
        damaged[position] = value
    digit_or_refusal(bytes(damaged))
    digit_or_refusal(with_checksums(bytes(damaged)))


def with_checksums(png: bytes) -> bytes:
    """The same chunks, each with the checksum that its content has."""
    parts, start = [png[:8]], 8
    while start + 12 <= len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4])
        parts.append(chunk(png[start + 4 : start + 8], png[start + 8 : end - 4]))
        start = end
    return b"".join(parts)


@given(
    st_numpy.arrays(
        np.uint8,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements=st.integers(0, 255),
        fill=st.integers(0, 255),
    )
)
def test_any_pixels_are_a_digit_or_a_refusal(pixels: Bytes) -> None:
    """Pictures of any content come out in the form or are refused: no step divides by nothing."""
    digit_or_refusal(encode(pixels))


def test_noise_and_its_worst_shapes_are_a_digit_or_a_refusal() -> None:
    """Noise of any strength, a chessboard, a spiral and rings pass all steps."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[-1:1:300j, -1:1:300j]
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    for strength in (1, 10, 100, 1000):
        digit_or_refusal(encode(np.clip(128 + random.normal(0, strength, (300, 300)), 0, 255).astype(np.uint8)))
    for wave in (x * 0 + np.indices(x.shape).sum(axis=0) % 2, np.sin(60 * radius + angle), np.sin(90 * radius)):
        picture = np.where(wave > 0, 200, 40) + random.normal(0, 4, x.shape)
        digit_or_refusal(encode(np.clip(picture, 0, 255).astype(np.uint8)))


def test_threads_do_not_disturb_each_other() -> None:
    """Thirty-two reads at a time give what each gives alone, and leave Pillow's settings as they were."""
    files = [*in_every_mode(FIVE).values(), photograph(np.asarray(Image.fromarray(FIVE).resize((28, 28))), 0)] * 4
    before = Image.MAX_IMAGE_PIXELS
    alone = [read(file) for file in files]
    with ThreadPoolExecutor(32) as threads:
        together = list(threads.map(read, files))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert before == Image.MAX_IMAGE_PIXELS


def test_each_step_can_be_left_out_or_shown() -> None:
    """Every step takes the picture of the step before it, float32 of two dimensions, and leaves it as it was."""
    picture = np.asarray(255 - FIVE, np.float32)
    for step in STEPS:
        before = picture.copy()
        after = step(picture)
        assert after.ndim == 2
        assert after.dtype == np.float32
        assert np.array_equal(picture, before), f"{step.__name__} changed its argument"
        picture = after
    assert np.array_equal(np.rint(picture).astype(np.uint8), read(encode(255 - FIVE)))


def test_large_pictures_are_never_held_as_floats() -> None:
    """The pictures that the steps see have fewer than 560 pixels a side, whatever came."""
    seen: list[tuple[int, ...]] = []

    def watch(frame: object, event: str, argument: object) -> None:
        code = getattr(frame, "f_code", None)
        if event == "call" and code is not None and code.co_name == "brighten_ink":
            seen.append(frame.f_locals["picture"].shape)  # type: ignore[attr-defined]

    sys.setprofile(watch)
    try:
        for kind in ("PNG", "JPEG"):
            read(encode(Image.fromarray(FIVE).resize((2800, 1401), BICUBIC), kind))
    finally:
        sys.setprofile(None)
    assert len(seen) == 2
    assert all(max(shape) < 560 for shape in seen), seen

"""The drawn digits: the same for the same hand, whole within the picture, and legible to the released model."""

import io

import numpy as np
import pytest
from conftest import ServerProcess
from PIL import Image

from clients import Client
from clients.handwriting import GLYPHS, Hand, draw, png

WAYS = [(digit, variant) for digit, ways in GLYPHS.items() for variant in range(len(ways))]


def test_every_digit_has_more_than_one_way_of_writing_it() -> None:
    assert sorted(GLYPHS) == list(range(10))
    assert all(len(ways) > 1 for ways in GLYPHS.values())


def test_the_same_hand_draws_the_same_picture() -> None:
    """Byte for byte; and another seed draws another one."""
    assert png(8, Hand.of(1)) == png(8, Hand.of(1))
    assert Hand.of(1) != Hand.of(2)
    assert png(8, Hand(wobble=0.02, seed=1)) != png(8, Hand(wobble=0.02, seed=2))


@pytest.mark.parametrize("side_px", [28, 280])
def test_a_picture_has_the_size_that_was_asked_for(side_px: int) -> None:
    with Image.open(io.BytesIO(png(3, Hand(), side_px=side_px))) as picture:
        assert (picture.format, picture.size) == ("PNG", (side_px, side_px))


@pytest.mark.parametrize(("digit", "variant"), WAYS)
def test_a_digit_is_whole_and_within_the_picture(digit: int, variant: int) -> None:
    """There is ink, as high as the hand writes, and none at the border."""
    hand = Hand(variant=variant, size=0.7, pen=0.08)
    dark = np.asarray(draw(digit, hand).convert("L")) < 128
    rows = np.flatnonzero(dark.any(axis=1))
    assert 0.6 < (rows[-1] - rows[0]) / 280 < 0.85
    assert not dark[[0, -1]].any()
    assert not dark[:, [0, -1]].any()


def test_the_ways_of_writing_a_digit_differ() -> None:
    for digit, ways in GLYPHS.items():
        assert len({png(digit, Hand(variant=variant)) for variant in range(len(ways))}) == len(ways)


def test_ink_and_paper_have_their_colours() -> None:
    """Chalk on a board is lighter than the board."""
    picture = np.asarray(draw(1, Hand(ink=(250, 250, 240), paper=(30, 60, 50))))
    assert picture[0, 0].tolist() == [30, 60, 50]
    assert picture[140, 140].tolist() == [250, 250, 240]


def test_slant_leans_the_top_to_the_right() -> None:
    dark = np.asarray(draw(1, Hand(slant=0.3, wobble=0)).convert("L")) < 128
    columns = [np.flatnonzero(row).mean() for row in dark if row.any()]
    assert columns[0] > columns[-1] + 30


def test_there_is_no_eleventh_digit() -> None:
    with pytest.raises(KeyError):
        draw(10, Hand())


@pytest.mark.parametrize("digit", range(10))
def test_the_released_model_reads_any_hand(server: ServerProcess, digit: int) -> None:
    """Of thirty hands, with all pens and papers, at least nine tenths are read right."""
    hands = [Hand.of(1000 + 100 * digit + seed) for seed in range(30)]
    assert {hand.paper for hand in hands} > {(255, 255, 255), (0, 0, 0)}
    with Client(server.target) as client:
        read = [int(client.classify(png(digit, hand)).digits[0]) for hand in hands]
    assert read.count(digit) >= 27, f"{digit} was read as {read}"

"""The page in a real browser: drawing by mouse, finger and keys, undo, samples, pictures, links, and what is read."""

import base64
import io
import json

import numpy as np
import pytest
from browser import PHONE, Opener, Visit
from conftest import ServerProcess
from numpy.typing import NDArray
from PIL import Image

from clients import Client
from clients.handwriting import Hand, curves, png
from serving.images import read_digit

SEVEN = list(curves(7, Hand()))
TWO = list(curves(2, Hand()))
# What the brush is set to, in percent of the sheet, and the hand.
HANDS = {
    "thin": (5, Hand(variant=0, seed=1)),
    "thick": (16, Hand(variant=1, seed=2)),
    "off-centre": (9, Hand(variant=0, size=0.5, centre=(0.3, 0.68), seed=3)),
    "small": (4, Hand(variant=0, size=0.28, centre=(0.62, 0.4), seed=4)),
    "slanted": (10, Hand(variant=1, slant=0.3, seed=5)),
}
DRAWN = [(digit, list(HANDS)[(digit + turn) % len(HANDS)]) for turn in (0, 2) for digit in range(10)]


def test_a_digit_drawn_with_the_mouse_is_shown_as_it_was_served(visit: Opener, server: ServerProcess) -> None:
    """The page's bars are the server's probabilities, for the very pixels that the page shows."""
    page = visit()
    assert page.verdict == "– blank: nothing drawn yet"
    page.draw(SEVEN)
    probabilities = page.served().arrays["probabilities"][0]
    shown = page.page.locator("#bars .number").all_inner_texts()
    assert shown == [f"{100 * float(p):.1f} %" for p in probabilities]
    assert page.verdict.startswith("7 ")
    seen = page.page.evaluate("[...document.querySelector('#seen').getContext('2d').getImageData(0,0,28,28).data]")
    assert np.array_equal(np.array(seen).reshape(28, 28, 4)[:, :, 0], page.pixels())
    with Client(server.target) as client:
        # With maps, as the page asks: without them another graph runs.
        answer = client.classify(page.pixels(), feature_maps=["conv1"])
        assert np.array_equal(answer.probabilities[0], probabilities)


def test_a_finger_draws_and_does_not_scroll_the_page(visit: Opener) -> None:
    """At the width of a phone."""
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True)
    page.touch(SEVEN)
    assert page.verdict.startswith("7 ")
    assert page.page.evaluate("scrollY") == 0


def test_undo_redo_clear_and_the_eraser(visit: Opener) -> None:
    """Each stroke is one step of the history, and so are clearing and erasing."""
    page = visit()
    page.draw(SEVEN)
    seven = page.pixels()
    page.draw([np.array([[0.2, 0.9], [0.8, 0.9]])])
    assert not np.array_equal(page.pixels(), seven)
    page.page.keyboard.press("Control+z")
    page.settle()
    assert np.array_equal(page.pixels(), seven)
    page.page.click("#redo")
    page.page.click("#undo")
    page.page.click("#clear")
    page.settle()
    assert "blank" in page.verdict
    page.page.click("#undo")
    page.settle()
    assert page.verdict.startswith("7 ")
    page.page.click("#eraser")
    page.page.fill("#brush", "20")
    page.draw([np.array([[x, y] for y in np.linspace(0.05, 0.95, 8) for x in np.linspace(0.05, 0.95, 8)])], every=1)
    assert page.verdict == "– blank: no ink on the sheet"


def test_what_interrupts_a_stroke_does_not_lose_it(visit: Opener) -> None:
    """A picture, undo, another pen: the stroke under way becomes a step of its own."""
    page = visit()
    page.draw(SEVEN)
    seven = page.pixels()
    (x, y), (x2, y2) = page.points(np.array([[0.2, 0.9], [0.8, 0.9]]))
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x2, y2, steps=5)
    page.page.keyboard.press("Control+z")
    page.page.mouse.up()
    page.settle()
    assert np.array_equal(page.pixels(), seven)
    page.page.keyboard.press("Control+y")
    page.settle()
    underlined = page.pixels()
    assert not np.array_equal(underlined, seven)
    page.page.mouse.move(x, y)
    page.page.mouse.down()
    page.page.mouse.move(x2, y, steps=5)
    page.give_file("paste", "three.png", "image/png", png(3, Hand(seed=8)))
    page.page.mouse.up()
    assert page.verdict.startswith("3 ")
    page.page.keyboard.press("Control+z")
    page.page.keyboard.press("Control+z")
    page.settle()
    assert np.array_equal(page.pixels(), underlined)
    page.page.locator("#sheet").focus()
    page.page.keyboard.press("Space")
    page.page.keyboard.press("Shift+ArrowDown")
    page.draw([np.array([[0.2, 0.95], [0.8, 0.95]])])  # by mouse, while the keys' stroke is under way
    page.page.click("#undo")
    page.page.click("#undo")
    page.settle()
    assert np.array_equal(page.pixels(), underlined)


def test_a_sample_under_way_gives_way(visit: Opener) -> None:
    """To clearing, to undo, and to a link."""
    page = visit(reduced_motion="no-preference")
    page.draw(SEVEN)
    link = page.copied_link()
    page.page.click("[aria-label='Sample 3']")
    page.page.wait_for_timeout(300)
    page.page.keyboard.press("Control+z")
    page.settle()
    assert page.verdict.startswith("7 ")
    page.page.click("[aria-label='Sample 3']")
    page.page.wait_for_timeout(300)
    page.page.click("#clear")
    page.page.wait_for_timeout(1500)
    assert page.verdict == "– blank: nothing drawn yet"
    page.page.click("[aria-label='Sample 3']")
    page.page.wait_for_timeout(300)
    page.page.evaluate(f"location.hash = '#'; location.hash = '{link}'")
    page.page.wait_for_timeout(1500)
    assert page.verdict.startswith("7 ")


def test_going_back_on_the_page_leaves_the_newer_drawing(visit: Opener) -> None:
    """The link that was opened first is in the browser's history."""
    page = visit()
    page.draw(SEVEN)
    page = visit(page.copied_link())
    page.page.click("#clear")
    page.draw(TWO)
    page.page.click("nav a >> nth=2")
    page.page.go_back()
    page.settle()
    assert page.verdict.startswith("2 ")


def test_the_keys_alone_draw_a_one(visit: Opener) -> None:
    """Tab to the sheet, pen down, down, pen up; the whole page can be reached so."""
    page = visit()
    page.page.locator("#sheet").focus()
    page.page.keyboard.press("Space")
    for _ in range(9):
        page.page.keyboard.press("Shift+ArrowDown")
    page.page.keyboard.press("Space")
    page.settle()
    assert page.verdict.startswith("1 ")
    page.page.keyboard.press("Delete")
    page.settle()
    assert "blank" in page.verdict


def test_a_sample_is_drawn_and_read(visit: Opener) -> None:
    page = visit()
    for digit in (0, 5):
        page.page.click(f"[aria-label='Sample {digit}']")
        page.settle()
        assert page.verdict.startswith(f"{digit} ")


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_is_read_by_the_server(visit: Opener, how: str) -> None:
    """The page then shows, and asks about, the very pixels that the server found in the file."""
    page = visit()
    picture = png(3, Hand(seed=8))
    page.give_file(how, "three.png", "image/png", picture)
    assert page.verdict.startswith("3 ")
    assert np.array_equal(page.pixels(), read_digit(picture, max_pixels=10**6))
    page.draw([np.array([[0.5, 0.02], [0.5, 0.2]])])  # on top of it
    assert not np.array_equal(page.pixels(), read_digit(picture, max_pixels=10**6))


def test_a_file_can_be_opened(visit: Opener) -> None:
    page = visit()
    page.page.set_input_files("#file", {"name": "four.png", "mimeType": "image/png", "buffer": png(4, Hand())})
    page.page.wait_for_timeout(200)
    page.settle()
    assert page.verdict.startswith("4 ")


def test_a_link_holds_the_drawing(visit: Opener) -> None:
    """Strokes, erased ones, and a picture under them: the same pixels come out on another page."""
    page = visit()
    page.give_file("drop", "three.png", "image/png", png(3, Hand()))
    page.draw(SEVEN)
    page.page.click("#eraser")
    page.draw([np.array([[0.1, 0.5], [0.9, 0.5]])])
    link = page.copied_link()
    assert np.array_equal(visit(link).pixels(), page.pixels())
    # Only a secure page has a clipboard, and one that is opened from another machine is none.
    page.page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.page.click("#copy-link")
    page.until(f"location.hash === '{link}'")


@pytest.mark.parametrize("link", ["#d=AA", "#d=%%", "#d=" + base64.urlsafe_b64encode(b"\1\0\0\2\377").decode()])
def test_a_damaged_link_is_an_empty_sheet_and_a_word_about_it(visit: Opener, link: str) -> None:
    """Which is gone as soon as something is drawn."""
    page = visit(link)
    assert "blank" in page.verdict
    assert page.page.inner_text("#notice").startswith("The link holds no drawing")
    page.draw(SEVEN)
    assert not page.page.is_visible("#notice")


def test_values_and_picture_can_be_kept(visit: Opener) -> None:
    """The JSON holds the served floats exactly."""
    page = visit()
    page.draw(SEVEN)
    with page.page.expect_download() as values:
        page.page.click("#save-values")
    kept = json.loads(values.value.path().read_text())
    for name, array in page.served().arrays.items():
        assert kept[name]["shape"] == list(array.shape)
        assert np.array_equal(np.array(kept[name]["values"], np.float32), array.ravel())
    with page.page.expect_download() as picture:
        page.page.click("#save-picture")
    assert picture.value.path().read_bytes().startswith(b"\x89PNG")


def test_19_of_20_drawn_digits_are_read_right(visit: Opener) -> None:
    """Thin, thick, off-centre, small and slanted."""
    page = visit()
    wrong = []
    for digit, kind in DRAWN:
        brush, hand = HANDS[kind]
        page.page.fill("#brush", str(brush))
        page.draw(list(curves(digit, hand)))
        if not page.verdict.startswith(f"{digit} "):
            wrong.append((digit, kind, page.verdict))
        page.page.click("#clear")
    assert len(wrong) <= 1, wrong


def test_a_scribble_is_doubted(visit: Opener) -> None:
    page = visit()
    page.draw([np.random.default_rng(0).uniform(0.1, 0.9, (20, 2))], every=1)
    assert "not a digit?" in page.verdict


def brightness(page: Visit) -> tuple[bytes, NDArray[np.uint8]]:
    """The sheet as a PNG that the server could get, and what the page makes of it."""
    grey, pixels = page.page.evaluate(
        """async (link) => {
          const [{Sheet}, {normalise}, {documentOf}] = await Promise.all(
            ['/ink.js', '/mnist.js', '/link.js'].map((module) => import(module)));
          const grey = new Sheet().read(documentOf(link));
          const text = (levels) => [...levels].map((level) => String.fromCharCode(level)).join('');
          return [text(grey), text(normalise(grey).pixels)];
        }""",
        page.copied_link(),
    )
    file = io.BytesIO()
    Image.frombytes("L", (280, 280), grey.encode("latin-1")).save(file, "PNG")
    return file.getvalue(), np.frombuffer(pixels.encode("latin-1"), np.uint8).reshape(28, 28)


def test_the_page_normalises_as_the_server_does(visit: Opener) -> None:
    """To the pixel, but for a grey level where floating point rounds the other way: large, small, thin and thick."""
    page = visit()
    for digit, kind in DRAWN[::3]:
        brush, hand = HANDS[kind]
        page.page.fill("#brush", str(brush))
        page.draw(list(curves(digit, hand)))
        picture, pixels = brightness(page)
        difference = np.abs(pixels.astype(int) - read_digit(picture, max_pixels=10**6))
        assert difference.max() <= 1, (digit, kind)
        assert (difference > 0).mean() < 0.01, (digit, kind)
        page.page.click("#clear")


def test_each_step_of_the_normalisation_can_be_seen_and_switched_off(visit: Opener) -> None:
    """A small digit in a corner, squeezed as it is, is far from MNIST; the page says what the model makes of it."""
    page = visit()
    brush, hand = HANDS["off-centre"]
    page.page.fill("#brush", str(brush))
    page.draw(list(curves(7, hand)))
    page.page.click("#steps summary")
    page.page.wait_for_selector("#step-list li:nth-child(5) .worth b")
    before = page.pixels()
    page.page.click("#step-list li:nth-child(2) input")
    page.page.click("#step-list li:nth-child(3) input")
    page.settle()
    assert not np.array_equal(page.pixels(), before)
    assert np.flatnonzero(page.pixels().any(axis=1))[0] > 8  # still in the lower half

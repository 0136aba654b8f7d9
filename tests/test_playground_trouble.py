"""What goes wrong around the page: a server that is away or shows no maps, files that are no digits, many pages."""

import io

import numpy as np
import pytest
from browser import PHONE, WIDE, Opener, running_playground
from conftest import running_server
from PIL import Image
from playwright.sync_api import Route

from clients.handwriting import Hand, curves, draw, png

SEVEN = list(curves(7, Hand()))


def test_the_page_says_that_the_server_is_away_and_recovers_by_itself(visit: Opener, released_model: object) -> None:
    """What was drawn meanwhile is read when the server is back; nothing has to be reloaded."""
    flags = ("--model-dir", str(released_model))
    with running_server(*flags) as first, running_playground(first.target) as url:
        page = visit(url=url, may_err=True)
        page.draw(SEVEN)
        assert page.verdict.startswith("7 ")
        assert first.stop() == 0
        page.page.wait_for_selector("#status[data-state=away]", timeout=20_000)
        assert "away" in page.page.inner_text("#status")
        assert page.verdict.startswith("7 ")  # which is still true
        page.draw([np.array([[0.2, 0.9], [0.8, 0.9]])])
        assert page.verdict == "– not read yet: waiting for the server"
        page.page.click("#save-picture")
        assert page.page.inner_text("#kept") == "Nothing has been read yet."
        page.give_file("drop", "three.png", "image/png", png(3, Hand()))
        assert page.page.inner_text("#notice").startswith("The server is away")
        page.page.click("#clear")
        page.draw(list(curves(2, Hand())))
        with running_server(*flags, port=first.target.rpartition(":")[2]):
            page.page.wait_for_selector("#status[data-state=serving]", timeout=20_000)
            page.until("document.querySelector('#verdict-digit').textContent === '2'")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_kept_unit_outlives_the_server(visit: Opener, released_model: object, size: dict[str, int]) -> None:
    """And so does the kernel that was chosen for the second lesson."""
    flags = ("--model-dir", str(released_model))
    with running_server(*flags) as first, running_playground(first.target) as url:
        page = visit(url=url, may_err=True, viewport=size)
        page.draw(SEVEN)
        page.page.locator("#layer-conv2 .map").nth(5).click()
        where = page.page.inner_text(".where")
        page.page.select_option("#lesson-slide select", "3")
        assert first.stop() == 0
        page.page.wait_for_selector("#status[data-state=away]", timeout=20_000)
        with running_server(*flags, port=first.target.rpartition(":")[2]):
            page.page.wait_for_selector("#status[data-state=serving]", timeout=20_000)
            page.settle()
            assert page.page.inner_text(".where") == where
            assert page.page.locator("#unit").get_attribute("data-pinned") == "true"
            assert page.page.locator("#lesson-slide select").input_value() == "3"


def test_two_versions_behind_one_address_do_not_keep_the_page_busy(visit: Opener) -> None:
    """Every answer here is of another version than the description."""
    page = visit()
    asked: list[str] = []

    def other_version(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=reply.body().replace(b'"version": "1"', b'"version": "2"'))

    page.page.route("**/classify*", other_version)
    page.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.draw(SEVEN)
    page.page.wait_for_timeout(2000)
    assert page.verdict.startswith("7 ")
    assert asked.count("model") <= 1


def test_the_page_says_that_the_playground_itself_is_away(visit: Opener, released_model: object) -> None:
    with running_server("--model-dir", str(released_model)) as server:
        with running_playground(server.target) as url:
            page = visit(url=url, may_err=True)
        page.page.wait_for_selector("#status[data-state=gone]", timeout=20_000)


def test_a_server_that_returns_no_maps_still_reads_digits(visit: Opener, released_model: object) -> None:
    """Its limit on replies has no room for them; the page says so, and goes on with the probabilities."""
    flags = ("--model-dir", str(released_model), "--max-reply-bytes", "4096")
    with running_server(*flags) as server, running_playground(server.target) as url:
        page = visit(url=url, may_err=True)
        page.draw(SEVEN)
        assert page.verdict.startswith("7 ")
        assert page.page.inner_text("#notice").startswith("No maps from this server: ")


def huge(kind: str) -> bytes:
    """A drawn 3 with more pixels than the server takes."""
    file = io.BytesIO()
    draw(3, Hand(), side_px=560).convert("L").resize((4500, 4500)).save(file, kind, compress_level=1)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "kind", "content", "notice"),
    [
        ("notes.txt", "text/plain", b"just words", "“notes.txt” is not a picture (text/plain)."),
        ("empty.png", "image/png", b"", "“empty.png” is empty."),
        ("odd.webp", "image/webp", b"no picture at all", "“odd.webp” cannot be read as a picture."),
        ("fake.png", "image/png", b"x" * 10, "“fake.png” cannot be read as a picture."),
        (f"{'n' * 300}.txt", "text/plain", b"just words", f"“{'n' * 39}…” is not a picture"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_in_words(
    visit: Opener, name: str, kind: str, content: bytes, notice: str
) -> None:
    """Before anything is sent; the drawing stays as it was."""
    page = visit()
    page.draw(SEVEN)
    page.give_file("drop", name, kind, content)
    assert page.page.inner_text("#notice").startswith(notice)
    assert page.verdict.startswith("7 ")


def test_what_the_server_refuses_is_told_in_its_words(visit: Opener) -> None:
    """A blank page; and a notice is gone when a picture is read."""
    page = visit(may_err=True)
    blank = io.BytesIO()
    Image.new("L", (100, 100), 255).save(blank, "PNG")
    page.give_file("drop", "blank.png", "image/png", blank.getvalue())
    assert "is blank" in page.page.inner_text("#notice")
    page.give_file("paste", "good.png", "image/png", png(5, Hand()))
    assert not page.page.is_visible("#notice")


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_picture_that_is_too_large_is_made_smaller_by_the_page(visit: Opener, kind: str) -> None:
    """Too many pixels for the server: 20 million."""
    page = visit()
    file = {"name": f"huge.{kind}", "mimeType": f"image/{kind}", "buffer": huge(kind)}
    page.page.set_input_files("#file", file)  # type: ignore[arg-type]
    page.until("document.querySelector('#verdict').dataset.state !== 'blank'")
    assert page.verdict.startswith("3 ")


def test_ten_pages_at_once(visit: Opener) -> None:
    """Each gets its own answers, while a sample is drawn on all of them."""
    pages = [visit(reduced_motion="no-preference") for _ in range(10)]
    for digit, page in enumerate(pages):
        page.page.click(f"[aria-label='Sample {digit}']")
    for digit, page in enumerate(pages):
        page.settle()
        assert page.verdict.startswith(f"{digit} ")

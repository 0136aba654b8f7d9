"""A real browser on the playground: what a person does with mouse, finger and keys, and what the page then holds.

The page is not told that it is tested. A script that runs before its own notes what it asks and how long it takes, and
keeps each answer, so that tests can compare what is shown with the bytes that were served.
"""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from conftest import BROWSER, ROOT
from numpy.typing import NDArray
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

WAIT_MS = 20_000
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3")

# No account, no update, no GPU: nothing but the page.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_NOTES = """
window.lab = {inFlight: 0, most: 0, count: 0, changed: 0, answer: null, sent: null, paces: []};
const ask = window.fetch;
window.fetch = async (url, options) => {
  if (!String(url).startsWith('/classify')) return ask(url, options);
  lab.most = Math.max(lab.most, ++lab.inFlight);
  try {
    const response = await ask(url, options);
    if (String(url).length > 20) [lab.answer, lab.sent] = [response.clone(), options.body];
    return response;
  } finally {
    lab.inFlight -= 1;
    lab.count += 1;
    lab.changed = performance.now();
  }
};
new PerformanceObserver((list) => list.getEntriesByName('pen to maps').forEach((each) => lab.paces.push(each.duration)))
  .observe({entryTypes: ['measure']});
"""


@contextmanager
def running_playground(server: str) -> Iterator[str]:
    """Starts `lenet playground` on a free port, and gives the page's address. It must stop with status 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "clients.cli", "playground", "--port", "0", "--server", server],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        yield process.stdout.readline().split()[-1]
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Starts the system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def visits(browser: Browser, playground: str) -> Iterator["Opener"]:
    """Gives a function that opens the page in a context of its own; at the end no page may have had an error."""
    opened: list[Visit] = []

    def open_page(fragment: str = "", *, url: str = playground, may_err: bool = False, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        visit = Visit(context.new_page(), url)
        opened.append(visit)
        if not may_err:
            visit.page.on("console", visit.note)
            visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.add_init_script(_NOTES)
        visit.open(fragment)
        return visit

    yield open_page
    for visit in opened:
        visit.page.context.close()
        assert visit.errors == []


@dataclass
class Served:
    """One answer as the app sent it, decoded by this test and not by the page."""

    header: dict[str, Any]
    arrays: dict[str, NDArray[np.float32]]


def decode_frame(content: bytes) -> Served:
    """Reads a frame; see clients/playground/frames.py."""
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    at, arrays = 4 + length, {}
    for each in header["arrays"]:
        size = int(np.prod(each["shape"]))
        arrays[each["name"]] = np.frombuffer(content, "<f4", size, at).reshape(each["shape"])
        at += 4 * size
    assert at == len(content)
    return Served(header, arrays)


@dataclass
class Visit:
    """A page that a person has open."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        """Keeps what the page complains of."""
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, fragment: str = "") -> None:
        """Loads the page and waits until it is of use."""
        self.page.goto(self.url + fragment)
        self.page.wait_for_selector("#status[data-state=serving]", timeout=WAIT_MS)
        self.page.wait_for_selector("#samples button", timeout=WAIT_MS)
        self.settle()

    def settle(self) -> None:
        """Waits until nothing is asked or drawn any more."""
        self.page.wait_for_timeout(50)
        self.until("lab.inFlight === 0 && performance.now() - lab.changed > 150")

    def until(self, condition: str) -> None:
        """Waits for a condition in the page. Playwright's own way of waiting is forbidden by the page's policy."""
        give_up = time.monotonic() + WAIT_MS / 1000
        while not self.page.evaluate(condition):
            assert time.monotonic() < give_up, condition
            self.page.wait_for_timeout(20)

    def served(self) -> Served:
        """The newest answer."""
        content = self.page.evaluate("lab.answer.clone().arrayBuffer().then((all) => [...new Uint8Array(all)])")
        return decode_frame(bytes(content))

    def pixels(self) -> NDArray[np.uint8]:
        """The image that the newest answer is for."""
        return np.array(self.page.evaluate("[...lab.sent]"), np.uint8).reshape(28, 28)

    @property
    def verdict(self) -> str:
        """What the page says."""
        return self.page.inner_text("#verdict-digit") + " " + self.page.inner_text("#verdict-text")

    def points(self, curve: NDArray[np.float64]) -> list[tuple[float, float]]:
        """Places on the screen for points in fractions of the sheet."""
        box = self.page.locator("#sheet").bounding_box()
        assert box
        return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in curve]

    def draw(self, curves: Sequence[NDArray[np.float64]], every: int = 4) -> None:
        """Draws strokes with the mouse."""
        self.page.locator("#sheet").scroll_into_view_if_needed()
        for curve in curves:
            (x, y), *rest = self.points(np.vstack([curve[::every], curve[-1:]]))
            self.page.mouse.move(x, y)
            self.page.mouse.down()
            for x, y in rest:
                self.page.mouse.move(x, y)
            self.page.mouse.up()
        self.settle()

    def touch(self, curves: Sequence[NDArray[np.float64]], every: int = 4) -> None:
        """Draws strokes with a finger."""
        session = self.page.context.new_cdp_session(self.page)

        def send(kind: str, points: list[tuple[float, float]]) -> None:
            touches = [{"x": x, "y": y} for x, y in points]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

        for curve in curves:
            first, *rest = self.points(np.vstack([curve[::every], curve[-1:]]))
            send("touchStart", [first])
            for point in rest:
                send("touchMove", [point])
            send("touchEnd", [])
        self.settle()

    def copied_link(self) -> str:
        """Copies the link to the drawing; gives the part of it that holds the drawing."""
        self.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page.click("#copy-link")
        self.until("document.querySelector('#kept').textContent === 'Link copied.'")
        link = str(self.page.evaluate("navigator.clipboard.readText()"))
        assert link.startswith(self.url)
        return link[link.index("#") :]

    def give_file(self, how: str, name: str, kind: str, content: bytes) -> None:
        """Drops or pastes a file."""
        self.page.evaluate(
            """([how, name, kind, content]) => {
              const files = new DataTransfer();
              files.items.add(new File([Uint8Array.from(content)], name, {type: kind}));
              const options = {bubbles: true, cancelable: true};
              document.querySelector('#sheet').dispatchEvent(how === 'drop'
                ? new DragEvent('drop', {...options, dataTransfer: files})
                : new ClipboardEvent('paste', {...options, clipboardData: files}));
            }""",
            [how, name, kind, list(content)],
        )
        self.page.wait_for_timeout(200)
        self.settle()


Opener: TypeAlias = Callable[..., Visit]

"""Takes the pictures of the playground that the README shows: `python tests/screenshots.py`."""

from pathlib import Path

from browser import PHONE, WIDE, running_browser, running_playground, visits
from conftest import ROOT, running_server

from clients.handwriting import Hand, curves


def main(folder: Path = ROOT / "docs") -> None:
    """Draws a digit on a wide screen and on a phone, and keeps what is seen."""
    two = list(curves(2, Hand()))
    with (
        running_server() as server,
        running_playground(server.target) as url,
        running_browser() as browser,
        visits(browser, url) as visit,
    ):
        page = visit(viewport=WIDE)
        page.draw(two)
        page.page.locator("#layer-conv2 .map").nth(3).click()
        page.page.mouse.move(0, 0)
        page.page.screenshot(path=folder / "playground-wide.png")
        page = visit(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2, color_scheme="dark")
        page.touch(two)
        page.page.evaluate("document.activeElement.blur()")
        page.page.screenshot(path=folder / "playground-phone.png")


if __name__ == "__main__":
    main()

"""What the page shows of the network: every pixel of every map, the arithmetic of units, the lessons, and the pace."""

import math
import re
import statistics

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import LAYERS, PHONE, WIDE, Opener, Visit
from conftest import ServerProcess
from numpy.typing import NDArray

from clients import Client
from clients.handwriting import Hand, curves

TWO = list(curves(2, Hand()))
WORKED = [11.0, 13.6, 16.2, 21.4, 24.0, 26.6, 31.8, 34.4, 37.0]
# Zero, full colour and strength in OKLCH, and how strength falls towards full colour.
THEMES = {"light": (0.985, 0.4, 0.155, 0.0), "dark": (0.2, 0.86, 0.135, 0.45)}


NARROWEST = {"width": 320, "height": 640}  # what a page must do without scrolling sideways: WCAG 1.4.10
# Figures that are wider than their cells.
CUT_OFF = """[...document.querySelectorAll('.numbers span')].filter((cell) => {
  const text = document.createRange();
  text.selectNodeContents(cell);
  return text.getBoundingClientRect().width > cell.getBoundingClientRect().width;
}).map((cell) => cell.textContent)"""


def colours(values: NDArray[np.float32], limit: float, theme: str) -> NDArray[np.float64]:
    """The colours that the page promises, [..., 3] from 0 to 255, by the formulas and not by the page's code."""
    zero, full, chroma, fall = THEMES[theme]
    signed = np.clip(np.round(values / limit * 127), -127, 127) / 127 if limit else np.zeros_like(values)
    share = np.abs(signed)
    lightness = zero + (full - zero) * share
    strength = chroma * np.minimum(1, 1.7 * share) * (1 + (0.15 - fall * share) * (fall > 0))
    hue = np.radians(np.where(signed < 0, 252, 40))
    a, b = strength * np.cos(hue), strength * np.sin(hue)
    to_lms = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.707614701],
        ]
    )
    linear = np.clip((np.stack([lightness, a, b], -1) @ to_lms.T) ** 3 @ to_rgb.T, 0, 1)
    return np.asarray(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def shown(page: Visit, layer: str) -> NDArray[np.float64]:
    """The pixels of a layer's canvases, [canvases, height, width, 3]."""
    canvases = page.page.evaluate(
        """(layer) => [...document.querySelectorAll(`#layer-${layer} canvas[data-channel]`)].map((canvas) => {
          const {width, height} = canvas;
          return [height, width, ...canvas.getContext('2d').getImageData(0, 0, width, height).data];
        })""",
        layer,
    )
    return np.array([np.reshape(each[2:], (each[0], each[1], 4))[:, :, :3] for each in canvases], float)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["layer", "map", "fixed"])
def test_every_pixel_of_every_map_is_a_served_value(
    visit: Opener, server: ServerProcess, theme: str, kind: str
) -> None:
    """In its colour, for each range of colours; and the values are those that any client gets for these pixels."""
    page = visit(color_scheme=theme)
    page.page.check(f"[name=range][value={kind}]", force=True)
    page.draw(TWO)
    served = page.served().arrays
    with Client(server.target) as client:
        expected = client.classify(page.pixels(), feature_maps=LAYERS).feature_maps
    for layer in LAYERS:
        assert np.array_equal(served[layer], expected[layer])
        maps = served[layer][0].reshape((1, 4, 30) if layer == "conv3" else served[layer][0].shape)
        whole = float(np.abs(maps).max())
        limits = {
            "layer": [whole] * len(maps),
            "map": [float(np.abs(each).max()) for each in maps],
            "fixed": [4.0] * len(maps),
        }
        promised = np.stack([colours(each, limit, theme) for each, limit in zip(maps, limits[kind], strict=True)])
        assert np.abs(shown(page, layer) - promised).max() <= 4, layer


@pytest.mark.parametrize(("layer", "products"), [("conv1", 25), ("conv2", 150), ("conv3", 400)])
def test_the_products_and_the_bias_add_up_to_the_served_value(visit: Opener, layer: str, products: int) -> None:
    """All of them are printed; they are added up here, from the text."""
    page = visit()
    page.draw(TWO)
    page.page.locator(f"#layer-{layer} .map").last.click(position={"x": 20, "y": 12})
    page.page.click("#unit details summary")
    text = page.page.text_content("#all-products") or ""
    values = [float(each) for each in re.findall(r"= (\S+)$", text.replace("−", "-"), re.MULTILINE)]
    bias, served = (
        float(re.findall(rf"^{name} (\S+)$", text.replace("−", "-"), re.MULTILINE)[0]) for name in ("bias", "served")
    )
    assert len(values) == products
    assert math.isclose(sum(values) + bias, served, abs_tol=products * 1e-6)
    assert np.isclose(page.served().arrays[layer], served, atol=1e-6).any()
    assert "✓" in page.page.inner_text("#sum")


def test_a_unit_follows_the_pen_once_it_is_kept(visit: Opener) -> None:
    """A click keeps it; pointing elsewhere leaves it, and Escape lets go."""
    page = visit()
    page.draw(TWO)
    page.page.locator("#layer-pool2 .map").nth(3).click(position={"x": 20, "y": 20})
    where = page.page.inner_text(".where")
    assert where.startswith("pool2 map 4")
    assert "16 × 16 pixels" in where
    before = page.page.inner_text("#sum")
    page.page.locator("#layer-conv1 .map").first.hover()
    assert page.page.inner_text(".where") == where
    page.draw(list(curves(2, Hand(size=0.3))))
    assert page.page.inner_text("#sum") != before
    assert "✓ maximum, then ReLU" in page.page.inner_text("#sum")
    page.page.keyboard.press("Escape")
    page.page.locator("#layer-conv1 .map").first.hover()
    assert page.page.inner_text(".where").startswith("conv1 map 1")
    page.page.click("#clear")
    page.settle()
    assert page.page.inner_text("#unit-body") == "Draw something, then point at a map."


def test_units_can_be_walked_with_the_keys(visit: Opener) -> None:
    """And are told to who cannot see them."""
    page = visit()
    page.draw(TWO)
    page.page.locator("#layer-conv2 .maps").focus()
    for key in ("PageDown", "ArrowRight", "ArrowRight", "ArrowDown"):
        page.page.keyboard.press(key)
    value = page.served().arrays["conv2"][0, 1, 1, 2]
    assert page.page.inner_text("#unit-say") == f"conv2, map 2, row 2, column 3: {value:.3f}".replace("-", "−")


@pytest.mark.parametrize(("layer", "size"), [("conv1", 5), ("pool1", 6), ("conv2", 14), ("pool2", 16), ("conv3", 28)])
def test_the_receptive_field_of_a_unit_is_outlined(visit: Opener, layer: str, size: int) -> None:
    """As large as it is by hand, on the image and, at the drawing's own scale, on the sheet.

    A unit of conv3 sees 32 pixels across, of which 4 are the zeros around the image.
    """
    page = visit()
    page.draw(TWO)
    page.page.locator(f"#layer-{layer} .map").first.click()
    where = page.page.inner_text(".where")
    assert f"{size} × {size} pixels of the image" in where
    assert ("and zeros around it" in where) == (layer == "conv3")
    width = page.page.evaluate("document.querySelector('#seen-field').style.width")
    assert float(width.removesuffix("%")) == pytest.approx(100 * size / 28, abs=0.01)
    assert page.page.is_visible("#sheet-field")


def test_the_worked_example_comes_out(visit: Opener) -> None:
    """Step by step, and with the numbers of the article."""
    page = visit()
    results = []
    for _ in range(9):
        words = page.page.text_content("#lesson-worked .equation") or ""
        results.append(float(words.rpartition("= ")[2]))
        page.page.click("#lesson-worked button:has-text('Step')")
    assert results == WORKED
    cells = page.page.locator("#lesson-worked .square").last.locator("span").all_inner_texts()
    assert [float(each) for each in cells] == WORKED


def test_the_kernel_that_slides_over_the_drawing_makes_the_served_map(visit: Opener) -> None:
    """Its sum at a step is the value that the server has there."""
    page = visit()
    page.draw(TWO)
    page.page.locator("#lesson-slide").scroll_into_view_if_needed()
    page.page.select_option("#lesson-slide select", "2")
    page.page.fill("#lesson-slide input[type=range]", str(28 * 10 + 12))
    page.until("document.querySelector('#lesson-slide .equation').textContent.startsWith('row 11, column 13')")
    words = page.page.inner_text("#lesson-slide .equation").replace("−", "-")
    assert float(words.rpartition("sum ")[2]) == pytest.approx(page.served().arrays["conv1"][0, 2, 10, 12], abs=1e-4)


def test_the_size_formula_says_what_is_whole(visit: Opener) -> None:
    page = visit()
    page.page.click("#lesson-formula button:has-text('conv2')")
    assert page.page.inner_text("#lesson-formula .equation") == "(14 + 2 × 0 − 5) / 1 + 1 = 10: whole"
    page.page.fill("#formula-s", "2")
    assert "not whole: 1 left over" in page.page.inner_text("#lesson-formula .equation")
    page.page.fill("#formula-n", "1")
    assert "larger than the image" in page.page.inner_text("#lesson-formula .equation")


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1024, 768), (1440, 900)])
def test_drawing_and_verdict_are_in_sight_together(visit: Opener, width: int, height: int) -> None:
    """Without scrolling, on screens of desks and laps."""
    page = visit(viewport={"width": width, "height": height})
    page.draw(TWO)
    box = page.page.locator(".verdict-box").bounding_box()
    assert box
    assert box["y"] + box["height"] <= height
    assert page.page.evaluate(CUT_OFF) == []


def test_the_panel_of_a_kept_unit_goes_where_there_is_room(visit: Opener) -> None:
    """Beside the layers on a wide screen, below the unit's layer on a narrow one, also when the window changes."""
    page = visit()
    page.draw(TWO)
    page.page.locator("#layer-conv2 .map").first.click()
    for size, place in ((WIDE, "unit-column"), (PHONE, "layers"), (WIDE, "unit-column")):
        page.page.set_viewport_size(size)  # type: ignore[arg-type]
        page.until(f"document.querySelector('#unit').parentNode.id === '{place}'")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE, NARROWEST], ids=["wide", "phone", "320"])
def test_axe_finds_nothing_and_nothing_is_cut_off(visit: Opener, size: dict[str, int], theme: str) -> None:
    """With a drawing, a unit, all details open and at all widths; the page itself never scrolls sideways."""
    page = visit(viewport=size, color_scheme=theme, has_touch=size is not WIDE)
    page.draw(TWO)
    page.page.click("#steps summary")
    page.page.locator("#layer-conv2 .map").first.click()
    page.page.click("#unit details summary")
    page.settle()
    assert page.page.evaluate(CUT_OFF) == []
    found = Axe().run(page.page)
    assert found.violations_count == 0, found.generate_report()
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_one_request_at_a_time_and_the_pace_is_told(visit: Opener) -> None:
    """However fast the pen is; how long it takes is printed by this test, and judged by nobody but its reader."""
    page = visit()
    page.draw(list(curves(8, Hand())) * 3, every=1)
    assert page.page.evaluate("lab.most") == 1
    paces = page.page.evaluate("lab.paces")
    assert len(paces) > 5
    print(f"pen to maps: median {statistics.median(paces):.0f} ms of {len(paces)}")
    assert page.verdict.startswith("8 ")

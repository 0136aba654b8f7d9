// Sample digits: strokes that a pen of the demo would draw. One that is chosen is drawn before the person's eyes, so that
// the maps can be watched while the digit comes into being.

import { samples } from "./asking.js";
import { EMPTY, SHEET } from "./drawing.js";
import { element } from "./elements.js";
import { drawInk } from "./ink.js";

const DRAWING_MS = 1100;
const PEN = SHEET / 10;

// `show(document, isFinished)` gets the drawing at each frame.
export class Samples {
  #frame = null;

  constructor(list, show) {
    this.list = list;
    this.show = show;
  }

  async load() {
    if (this.list.children.length) return;
    const digits = await samples();
    this.list.replaceChildren(...digits.map((strokes, digit) => this.#button(toDocument(strokes), digit)));
  }

  stop() {
    cancelAnimationFrame(this.#frame);
  }

  #button(sample, digit) {
    const canvas = element("canvas", { width: 64, height: 64, "aria-hidden": "true" });
    const button = element("button", { type: "button", "aria-label": `Sample ${digit}` }, canvas);
    drawInk(canvas.getContext("2d"), sample, "#7f8a8a");
    button.addEventListener("click", () => this.#draw(sample));
    return button;
  }

  #draw(sample) {
    this.stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.show(sample, true);
      return;
    }
    const start = performance.now();
    const step = (now) => {
      const share = Math.max(0, (now - start) / DRAWING_MS);
      this.show(share < 1 ? partOf(sample, share) : sample, share >= 1);
      if (share < 1) this.#frame = requestAnimationFrame(step);
    };
    this.#frame = requestAnimationFrame(step);
  }
}

function toDocument(strokes) {
  const onSheet = (value) => Math.round(2 * SHEET * value) / 2;
  const drawn = strokes.map((points) => ({ erase: false, size: PEN, points: points.map((point) => point.map(onSheet)) }));
  return { ...EMPTY, strokes: drawn };
}

function partOf(sample, share) {
  let left = Math.ceil(share * sample.strokes.reduce((sum, { points }) => sum + points.length, 0));
  const strokes = [];
  for (const stroke of sample.strokes) {
    if (left > 0) strokes.push({ ...stroke, points: stroke.points.slice(0, left) });
    left -= stroke.points.length;
  }
  return { ...sample, strokes };
}

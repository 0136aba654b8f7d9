// A kernel that slides over an image, one step at a time: the window on the image, the products, and the result as far as
// it has come. The first lesson shows four by four pixels with it, the second the person's drawing.

import { largest, paint } from "./colours.js";
import { element, signed } from "./elements.js";
import { patchOf } from "./geometry.js";
import { multiply } from "./arithmetic.js";
import { place } from "./maps.js";
import { NumberSquare } from "./numbers.js";

export class Slide {
  #step = 0;
  #timer = null;

  // `numbered`: few enough pixels to print each one.
  constructor(root, { side, window, padding, numbered, digits = 2, stepMs }) {
    Object.assign(this, { side, window, padding, numbered, stepMs });
    this.outSide = side + 2 * padding - window + 1;
    this.image = numbered ? new NumberSquare(side, "image", { digits: 0 }) : picture(side, "image");
    this.result = numbered ? new NumberSquare(this.outSide, "result", { digits: 1 }) : picture(this.outSide, "result");
    const square = (name) => new NumberSquare(window, name, { digits });
    [this.patch, this.kernel, this.products] = [square("patch"), square("kernel"), square("products")];
    this.words = element("p", { class: "equation number" });
    this.controls = element("div", { class: "controls" }, ...this.#buttons());
    const row = element("div", { class: "slide-row" }, this.image.root, arrow("→"), this.patch.root, arrow("×"),
      this.kernel.root, arrow("="), this.products.root, arrow("→"), this.result.root);
    root.replaceChildren(this.controls, row, this.words);
  }

  // `image` is [side * side], `kernel` [window * window].
  show(image, kernel, bias, look) {
    Object.assign(this, { values: image, weights: kernel, bias, look });
    this.#draw();
  }

  get step() {
    return this.#step;
  }

  go(step) {
    this.#step = Math.min(this.outSide ** 2 - 1, Math.max(0, step));
    this.#draw();
  }

  #buttons() {
    const button = (text, act) => {
      const made = element("button", { type: "button" }, text);
      made.addEventListener("click", act);
      return made;
    };
    this.play = button("Play", () => (this.#timer ? this.#stop() : this.#start()));
    const step = (by) => () => {
      this.#stop();
      this.go(this.#step + by);
    };
    this.slider = element("input", { type: "range", min: 0, max: this.outSide ** 2 - 1, value: 0, "aria-label": "Step" });
    this.slider.addEventListener("input", () => this.go(this.slider.valueAsNumber));
    return [this.play, button("Back", step(-1)), button("Step", step(1)), this.slider];
  }

  #start() {
    if (this.#step === this.outSide ** 2 - 1) this.#step = -1;
    this.play.textContent = "Pause";
    this.#timer = setInterval(() => {
      this.go(this.#step + 1);
      if (this.#step === this.outSide ** 2 - 1) this.#stop();
    }, this.stepMs);
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    this.play.textContent = "Play";
  }

  #draw() {
    if (!this.values) return;
    const { side, outSide, look } = this;
    this.slider.value = this.#step;
    const works = Array.from({ length: this.#step + 1 }, (_, i) => this.#work(i));
    const work = works.at(-1);
    const results = works.map(({ sum }) => sum + this.bias);
    const limit = Math.max(largest(results), 1e-9);
    const box = this.#box(this.#step);
    const [column, row] = [this.#step % outSide, Math.floor(this.#step / outSide)];
    if (this.numbered) {
      this.image.show(this.values, look);
      this.image.mark((i) => within(box, i % side, Math.floor(i / side)));
      this.result.show(results, look, limit);
      this.result.mark((i) => i === this.#step);
    } else {
      this.image.show(this.values, largest(this.values), look, box);
      const shown = new Float32Array(outSide ** 2);
      shown.set(results);
      this.result.show(shown, limit, look, { left: column, top: row, size: 1 });
    }
    this.patch.show(work.patch, look, largest(this.values));
    this.kernel.show(work.kernel, look);
    this.products.show(work.products, look);
    const value = signed(results.at(-1), this.numbered ? 1 : 4);
    this.words.textContent = this.numbered
      ? `${equation(work)} + ${signed(this.bias, 1)} = ${value}`
      : `row ${row + 1}, column ${column + 1}: ${work.products.length} products ${signed(work.sum, 4)}, bias ${signed(this.bias, 4)}, sum ${value}`;
  }

  #work(step) {
    const source = { data: this.values, width: this.side, height: this.side };
    return multiply(0, patchOf(source, this.#box(step)), this.weights);
  }

  #box(step) {
    const [column, row] = [step % this.outSide, Math.floor(step / this.outSide)];
    return { left: column - this.padding, top: row - this.padding, size: this.window };
  }
}

function equation({ patch, kernel }) {
  return Array.from(patch, (value, i) => `${signed(value, 0)} × ${signed(kernel[i], 1)}`).join(" + ");
}

function within({ left, top, size }, x, y) {
  return x >= left && x < left + size && y >= top && y < top + size;
}

// A canvas with one mark, with the shape of a NumberSquare.
function picture(side, name) {
  const canvas = element("canvas", { width: side, height: side, role: "img", "aria-label": name });
  const mark = element("i", { class: "mark window" });
  const root = element("figure", { class: "square plain" }, element("div", { class: "pixels" }, canvas, mark), element("figcaption", {}, name));
  const show = (values, limit, { table }, box) => {
    paint(canvas.getContext("2d"), values, limit, table);
    place(mark, box, { width: side, height: side });
  };
  return { root, show };
}

function arrow(text) {
  return element("b", { class: "arrow", "aria-hidden": "true" }, text);
}

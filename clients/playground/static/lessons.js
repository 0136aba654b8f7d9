// The four lessons, in the order in which they build on each other.

import { byId, element } from "./elements.js";
import { Formula } from "./formula.js";
import { Kernels } from "./kernels.js";
import { Slide } from "./slide.js";

// The worked example: the pixels 1 to 16, and a result of 11.0, 13.6, 16.2, 21.4, 24.0, 26.6, 31.8, 34.4, 37.0.
const WORKED = {
  image: Float32Array.from({ length: 16 }, (_, i) => i + 1),
  kernel: [0.5, 0.6, 0.7, 0.8],
  bias: 1,
};

export class Lessons {
  #layer = null;
  #channel = 0;
  #slide = null;
  #image = null;
  #isSeen = false;

  constructor(look) {
    this.look = look;
    // Far below the drawing; worth no time of a stroke while nobody looks.
    new IntersectionObserver(([{ isIntersecting }]) => this.#seen(isIntersecting)).observe(byId("lesson-slide"));
    const root = (id) => document.querySelector(`#${id} > div:last-child`);
    this.roots = { slide: root("lesson-slide") };
    this.worked = new Slide(root("lesson-worked"), { side: 4, window: 2, padding: 0, numbered: true, digits: 1, stepMs: 1200 });
    this.formula = new Formula(root("lesson-formula"));
    this.kernels = new Kernels(root("lesson-kernels"));
  }

  open(model, layers) {
    this.#layer = layers.find((layer) => layer.kernel && layer.source === "input") ?? null;
    this.formula.open(layers);
    this.kernels.open(layers);
    this.paint(this.look());
    byId("lesson-slide").hidden = !this.#layer;
    if (!this.#layer) return;
    const { width, window, padding, channels } = this.#layer;
    this.#channel = Math.min(this.#channel, channels - 1);
    const side = width - 2 * padding + window - 1;
    this.#slide = new Slide(this.roots.slide, { side, window, padding, numbered: false, stepMs: 60 });
    this.#slide.controls.append(this.#chooser());
    this.#slide.go(width * 11 + 13);
  }

  // `image` is [784] from 0 to 1, or null for a blank sheet.
  show(image) {
    this.#image = image ?? new Float32Array(28 * 28);
    if (this.#isSeen) this.#showSlide();
  }

  // What changes only with the palette.
  paint(look) {
    this.worked.show(WORKED.image, WORKED.kernel, WORKED.bias, look);
    this.kernels.show(look);
    this.#showSlide();
  }

  #seen(isSeen) {
    this.#isSeen = isSeen;
    if (isSeen) this.#showSlide();
  }

  #showSlide() {
    if (!this.#slide || !this.#image) return;
    const { kernel, bias, window } = this.#layer;
    const at = this.#channel * window ** 2;
    this.#slide.show(this.#image, kernel.data.subarray(at, at + window ** 2), bias.data[this.#channel], this.look());
  }

  #chooser() {
    const options = Array.from({ length: this.#layer.channels }, (_, i) => element("option", { value: i }, `kernel ${i + 1}`));
    const select = element("select", { "aria-label": "Kernel" }, ...options);
    select.value = this.#channel;
    select.addEventListener("change", () => {
      this.#channel = Number(select.value);
      this.#showSlide();
    });
    return select;
  }
}

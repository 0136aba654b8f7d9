// The size of a convolution's output, with a picture: a row of pixels, the zeros around it, and every place that the
// kernel takes.

import { element } from "./elements.js";

const SLIDERS = [
  { name: "n", text: "image n", min: 1, max: 32 },
  { name: "k", text: "kernel k", min: 1, max: 11 },
  { name: "s", text: "stride s", min: 1, max: 5 },
  { name: "p", text: "padding p", min: 0, max: 5 },
];

export class Formula {
  #inputs = {};
  #values = { n: 28, k: 5, s: 1, p: 2 };

  constructor(root) {
    this.words = element("p", { class: "equation number", "aria-live": "polite" });
    this.picture = element("div", { class: "windows", "aria-hidden": "true" });
    this.presets = element("div", { class: "controls" });
    const sliders = element("div", { class: "sliders" }, ...SLIDERS.map((slider) => this.#slider(slider)));
    root.replaceChildren(this.presets, sliders, this.words, this.picture);
    this.#show();
  }

  // Offers the numbers of the layers that are being served.
  open(layers) {
    const inputSide = (layer) => layers.find(({ name }) => name === layer.source)?.width ?? 28;
    const preset = (layer) => ({ n: inputSide(layer), k: layer.window, s: layer.stride, p: layer.padding });
    this.presets.replaceChildren(...layers.map((layer) => this.#button(layer.name, preset(layer))));
    this.presets.append(this.#button("one that does not fit", { n: 10, k: 3, s: 2, p: 0 }));
  }

  #slider({ name, text, min, max }) {
    const input = element("input", { type: "range", min, max, value: this.#values[name], id: `formula-${name}` });
    const output = element("output", { for: `formula-${name}` });
    input.addEventListener("input", () => {
      this.#values[name] = input.valueAsNumber;
      this.#show();
    });
    this.#inputs[name] = { input, output };
    return element("label", { class: "slider" }, text, input, output);
  }

  #button(text, values) {
    const button = element("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      this.#values = { ...values };
      this.#show();
    });
    return button;
  }

  #show() {
    const { n, k, s, p } = this.#values;
    for (const [name, { input, output }] of Object.entries(this.#inputs)) {
      input.value = output.textContent = this.#values[name];
    }
    const room = n + 2 * p - k;
    const [fits, left] = [Math.floor(room / s) + 1, room % s];
    const verdict = room < 0 ? "the kernel is larger than the image" : left === 0 ? "whole" : `not whole: ${left} left over, so ${fits} steps fit`;
    const result = room / s + 1;
    this.words.textContent = `(${n} + 2 × ${p} − ${k}) / ${s} + 1 = ${Number.isInteger(result) ? result : result.toFixed(2)}: ${verdict}`;
    this.words.dataset.whole = String(room >= 0 && left === 0);
    this.picture.replaceChildren(...(room < 0 ? [] : [pixels(this.#values, left), ...windows(this.#values, fits)]));
  }
}

function pixels({ n, p }, left) {
  const total = n + 2 * p;
  const kind = (i) => (i >= total - left ? "left-over" : i < p || i >= n + p ? "zero" : "pixel");
  const row = element("div", { class: "window-row" }, ...Array.from({ length: total }, (_, i) => element("i", { class: kind(i) })));
  row.style.setProperty("--total", total);
  return row;
}

function windows({ n, k, s, p }, fits) {
  return Array.from({ length: fits }, (_, i) => {
    const bar = element("i", { class: "bar-window" });
    bar.style.gridColumn = `${i * s + 1} / span ${k}`;
    const row = element("div", { class: "window-row" }, bar);
    row.style.setProperty("--total", n + 2 * p);
    return row;
  });
}

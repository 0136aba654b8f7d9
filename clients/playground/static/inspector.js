// One unit, worked out: its window, its kernel, every product, the bias, their sum, and beside it the served value.

import { agree, convolve, pool } from "./arithmetic.js";
import { largest, paint } from "./colours.js";
import { element, setText, signed } from "./elements.js";
import { NumberSquare, Sum } from "./numbers.js";

export class Inspector {
  #body;
  #layer = null;
  #input = 0;
  #view = null;

  constructor(body) {
    this.#body = body;
  }

  // `source(channel)` and `map` are channels as {data, width, height}; `field` is the receptive field on the image.
  show(layer, unit, source, map, field, look) {
    if (this.#layer !== layer) this.#open(layer);
    if (this.#last?.[1] !== unit) this.#view.where.replaceChildren(...whereabouts(layer, unit, field));
    this.#last = [layer, unit, source, map, field, look];
    if (layer.kernel) this.#showConvolution(convolve(layer, unit, source, map), look);
    else this.#showPooling(pool(layer, unit, source, map), look);
  }

  #last = null;

  #open(layer) {
    this.#layer = layer;
    this.#last = null;
    this.#input = 0;
    this.#view = layer.kernel ? convolutionView(layer, (input) => this.#choose(input), () => this.show(...this.#last)) : poolingView(layer);
    this.#body.replaceChildren(...this.#view.parts);
  }

  clear() {
    this.#layer = null;
    this.#body.replaceChildren(element("p", { class: "quiet" }, "Draw something, then point at a map."));
  }

  #choose(input) {
    this.#input = input;
    this.show(...this.#last);
  }

  #showConvolution(work, look) {
    const { patch, kernel, products, chosen, rows, sum, all, details } = this.#view;
    const group = work.groups[this.#input];
    const limits = [0, 1, 2].map((part) => largest(work.groups.flatMap((each) => [largest(partsOf(each)[part])])));
    [patch, kernel, products].forEach((square, i) => square.show(partsOf(group)[i], look, limits[i]));
    setText(chosen, work.groups.length > 1 ? `input map ${this.#input + 1} of ${work.groups.length}` : "the image");
    rows.forEach((row, i) => {
      partsOf(work.groups[i]).forEach((values, part) => paint(row.contexts[part], values, limits[part], look.table));
      setText(row.sum, signed(work.groups[i].sum, 4));
      row.root.setAttribute("aria-pressed", String(i === this.#input));
    });
    showSum(sum, work);
    if (details.open) all.textContent = listing(work);
  }

  #showPooling(work, look) {
    const { values, sum } = this.#view;
    values.show(work.values, look);
    const names = work.way ? [work.way, `after ${work.activation}`] : ["pooled", "after activation"];
    const verdict = work.way ? `✓ ${work.way}, then ${work.activation}: the served value` : "the served value comes from other weights";
    sum.show([[names[0], work.pooled], [names[1], work.total], ["served", work.served]], verdict);
  }
}

function whereabouts(layer, { channel, row, column }, field) {
  const where = layer.height * layer.width === 1 ? `unit ${channel + 1}` : `map ${channel + 1}, row ${row + 1}, column ${column + 1}`;
  return [
    element("strong", {}, layer.name),
    ` ${where}. It sees ${field.width} × ${field.height} pixels of the image, outlined on the drawing`,
    field.isClipped ? ", and zeros around it." : ".",
  ];
}

function convolutionView(layer, choose, again) {
  const [, inputs, side] = layer.kernel.shape;
  const where = element("p", { class: "where" });
  const patch = new NumberSquare(side, "patch");
  const kernel = new NumberSquare(side, "kernel");
  const products = new NumberSquare(side, "products", { digits: 3, className: "wide" });
  const chosen = element("p", { class: "quiet" });
  const rows = inputs > 1 ? Array.from({ length: inputs }, (_, input) => inputRow(input, side, choose)) : [];
  const sum = new Sum(4);
  const all = element("pre", { id: "all-products", tabindex: "0" });
  const details = element("details", {}, element("summary", {}, `All ${inputs * side * side} products as text`), all);
  details.addEventListener("toggle", again);
  const pair = element("div", { class: "pair" }, patch.root, element("b", {}, "×"), kernel.root);
  const list = element("div", { class: "input-rows", role: "group", "aria-label": "Input maps" }, ...rows.map((row) => row.root));
  const parts = [where, sum.root, chosen, pair, products.root, ...(rows.length ? [list] : []), details];
  return { parts, where, patch, kernel, products, chosen, rows, sum, all, details };
}

function inputRow(input, side, choose) {
  const canvases = ["patch", "kernel", "products"].map(() => element("canvas", { width: side, height: side }));
  const sum = element("span", { class: "number" });
  const [first, second, third] = canvases;
  const label = { type: "button", class: "input-row", "aria-label": `Input map ${input + 1}`, "aria-pressed": "false" };
  const root = element("button", label, `${input + 1}`, first, "×", second, "=", third, sum);
  root.addEventListener("click", () => choose(input));
  return { root, sum, contexts: canvases.map((canvas) => canvas.getContext("2d")) };
}

function poolingView(layer) {
  const where = element("p", { class: "where" });
  const values = new NumberSquare(layer.window, "values", { digits: 4, className: "wide" });
  const sum = new Sum(3);
  return { parts: [where, sum.root, values.root], where, values, sum };
}

function showSum(view, { groups, sum, bias, total, served }) {
  const count = groups.length * groups[0].products.length;
  const close = agree(total, served, Math.max(1, ...groups.map((group) => Math.abs(group.sum))));
  const rounding = signed(total, 6) === signed(served, 6) ? "" : ", but for float32's rounding";
  const verdict = close ? `✓ the sum is the served value${rounding}` : "✗ the sum is not the served value";
  view.show([[`${count} products`, sum], ["+ bias", bias], ["= sum", total], ["served", served]], verdict);
}

function listing({ groups, sum, bias, total, served }) {
  const lines = groups.flatMap(({ input, patch, kernel, products }) => [
    `input map ${input + 1}`,
    ...products.map((product, i) => `${signed(patch[i], 6)} × ${signed(kernel[i], 6)} = ${signed(product, 6)}`),
  ]);
  return [...lines, `products ${signed(sum, 6)}`, `bias ${signed(bias, 6)}`, `sum ${signed(total, 6)}`, `served ${signed(served, 6)}`].join("\n");
}

function partsOf({ patch, kernel, products }) {
  return [patch, kernel, products];
}

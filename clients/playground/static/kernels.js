// Every kernel of a layer as one picture: a column for each map that it makes, a row for each map that it looks at.

import { largest, paint } from "./colours.js";
import { element } from "./elements.js";

export class Kernels {
  #pictures = [];

  constructor(root) {
    this.root = root;
  }

  open(layers) {
    this.#pictures = layers.filter((layer) => layer.kernel).map(picture);
    this.root.replaceChildren(...this.#pictures.map(({ figure }) => figure));
  }

  show({ table }) {
    for (const { context, mosaic, limit } of this.#pictures) paint(context, mosaic, limit, table);
  }
}

function picture({ name, kernel }) {
  const [outputs, inputs, side] = kernel.shape;
  const step = side + 1; // one empty pixel between kernels
  const [width, height] = [outputs * step - 1, inputs * step - 1];
  const mosaic = new Float32Array(width * height);
  kernel.data.forEach((weight, i) => {
    const [x, y] = [i % side, Math.floor(i / side) % side];
    const [input, output] = [Math.floor(i / side ** 2) % inputs, Math.floor(i / (inputs * side ** 2))];
    mosaic[(input * step + y) * width + output * step + x] = weight;
  });
  const limit = largest(kernel.data);
  const text = `${name}: ${outputs} × ${inputs} kernels of ${side} × ${side}, from −${limit.toFixed(2)} to +${limit.toFixed(2)}`;
  const canvas = element("canvas", { width, height, role: "img", "aria-label": text });
  const scroll = element("div", { class: "kernel-scroll", tabindex: "0", role: "group", "aria-label": `Kernels of ${name}` }, canvas);
  canvas.style.setProperty("--columns", outputs);
  return { figure: element("figure", {}, element("figcaption", {}, text), scroll), context: canvas.getContext("2d"), mosaic, limit };
}

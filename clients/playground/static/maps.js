// One layer on the page: its maps as canvases of one pixel per unit, a legend, and the marks that show a unit and what it
// looks at. Maps of a single unit each (conv3) form one strip, so that 120 of them are still one thing to look at.

import { largest, paint } from "./colours.js";
import { element, setText } from "./elements.js";

const STRIP_COLUMNS = 30;
const RAMP = Float32Array.from({ length: 255 }, (_, i) => i - 127);

export class LayerView {
  #canvases = [];
  #legend;
  #table = null; // that the legend shows
  #marks = [];

  // `point(unit, how)` is called with {layer, channel, row, column} and "hover", "pick" or "key".
  constructor(layer, point) {
    this.layer = layer;
    this.isStrip = layer.height * layer.width === 1;
    this.root = element("section", { class: "layer", id: `layer-${layer.name}`, "aria-label": layer.name });
    this.#legend = element("canvas", { class: "legend-scale", width: 255, height: 1, "aria-hidden": "true" });
    this.limit = element("span", { class: "number" });
    const legend = element("div", { class: "legend" }, this.limit, "−", this.#legend, "+");
    const head = element("div", { class: "layer-head" }, ...title(layer), legend);
    this.grid = element("div", {
      class: this.isStrip ? "maps strip" : "maps",
      role: "group",
      tabindex: "0",
      "aria-label": `${layer.name}: ${layer.channels} maps of ${layer.height} by ${layer.width}. Arrow keys move the unit, Page Up and Page Down change the map, Enter keeps it.`,
    });
    this.grid.style.setProperty("--maps", layer.channels);
    this.grid.style.setProperty("--side", layer.width);
    this.#addMaps(point);
    this.root.append(head, this.grid);
  }

  show(values, limits, table) {
    this.#canvases.forEach((context, i) => {
      const size = values.length / this.#canvases.length;
      paint(context, values.subarray(i * size, (i + 1) * size), limits.of(values, i, this.layer), table);
    });
    this.#showLegend(limits.of(values, null, this.layer), limits.kind, table);
  }

  clear(table) {
    this.show(new Float32Array(this.layer.channels * this.layer.height * this.layer.width), NOTHING, table);
  }

  // Marks a box in the given channels (null: all); of a strip, the unit of the channel.
  mark(kind, box, channels = null) {
    this.#marks.forEach((mark, i) => {
      const own = this.isStrip ? channels?.[0] !== undefined : !channels || channels.includes(i);
      mark.hidden = !own;
      mark.className = `mark ${kind}`;
      if (own) place(mark, this.isStrip ? this.#cell(channels[0]) : box, this.isStrip ? this.#stripSize() : this.layer);
    });
  }

  unmark() {
    for (const mark of this.#marks) mark.hidden = true;
  }

  canvases() {
    return this.#canvases.map((context) => context.canvas);
  }

  #addMaps(point) {
    const count = this.isStrip ? 1 : this.layer.channels;
    const size = this.isStrip ? this.#stripSize() : this.layer;
    for (let i = 0; i < count; i++) {
      const canvas = element("canvas", { width: size.width, height: size.height, "data-channel": i });
      const mark = element("i", { class: "mark", hidden: "" });
      const name = this.isStrip ? "all units" : `map ${i + 1}`;
      const cell = element("div", { class: "map", role: "img", "aria-label": `${this.layer.name} ${name}` }, canvas, mark);
      cell.addEventListener("pointermove", (event) => point(this.#unitAt(event, canvas, i), "hover"));
      cell.addEventListener("click", (event) => point(this.#unitAt(event, canvas, i), "pick"));
      this.#canvases.push(canvas.getContext("2d"));
      this.#marks.push(mark);
      this.grid.append(cell);
    }
  }

  #unitAt(event, canvas, channel) {
    const box = canvas.getBoundingClientRect();
    const index = (value, start, length, count) =>
      Math.min(count - 1, Math.max(0, Math.floor(((value - start) / length) * count)));
    const column = index(event.clientX, box.left, box.width, canvas.width);
    const row = index(event.clientY, box.top, box.height, canvas.height);
    if (!this.isStrip) return { layer: this.layer.name, channel, row, column };
    const unit = Math.min(this.layer.channels - 1, row * STRIP_COLUMNS + column);
    return { layer: this.layer.name, channel: unit, row: 0, column: 0 };
  }

  #stripSize() {
    return { width: STRIP_COLUMNS, height: Math.ceil(this.layer.channels / STRIP_COLUMNS) };
  }

  #cell(channel) {
    return { left: channel % STRIP_COLUMNS, top: Math.floor(channel / STRIP_COLUMNS), size: 1 };
  }

  #showLegend(limit, kind, table) {
    if (this.#table !== table) paint(this.#legend.getContext("2d"), RAMP, 127, table);
    this.#table = table;
    setText(this.limit, kind === "map" ? "± max" : `± ${limit.toFixed(2)}`);
  }
}

// The value of full colour: of each map its own largest, of a layer its largest, or what the person chose.
export class Limits {
  constructor(kind, fixed) {
    this.kind = kind;
    this.fixed = fixed;
  }

  of(values, map, layer) {
    if (this.kind === "fixed") return this.fixed;
    const isStrip = layer.height * layer.width === 1;
    if (this.kind === "layer" || map === null || isStrip) return largest(values);
    const size = values.length / layer.channels;
    return largest(values.subarray(map * size, (map + 1) * size));
  }
}

const NOTHING = new Limits("fixed", 0);

// Lays a mark over a canvas of `whole` size; a box is {left, top} with a `size`, or with a width and a height.
export function place(mark, box, whole) {
  const { left, top, width = box.size, height = box.size } = box;
  mark.style.left = `${(left / whole.width) * 100}%`;
  mark.style.top = `${(top / whole.height) * 100}%`;
  mark.style.width = `${(width / whole.width) * 100}%`;
  mark.style.height = `${(height / whole.height) * 100}%`;
}

function title({ name, kind, channels, height, width, window, parameters }) {
  const shape = height * width === 1 ? `${channels} units` : `${channels} maps, ${height} × ${width}`;
  const what = `${window} × ${window} ${kind === "convolution" ? "kernels" : "pooling"}`;
  const weights = parameters ? ` · ${parameters.toLocaleString("en")} parameters` : "";
  return [element("h3", {}, name), element("p", { class: "quiet" }, `${shape} · ${what}${weights}`)];
}

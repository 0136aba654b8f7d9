// All layers on the page, the unit that is pointed at, and what it looks at in every layer before.
//
// Pointing follows the mouse; a click or Enter keeps the unit, so that its arithmetic can be watched during a stroke.

import { SIDE } from "./drawing.js";
import { byId, element, signed } from "./elements.js";
import { clipped, fieldsOf, layersWithMaps, windowOf } from "./geometry.js";
import { Inspector } from "./inspector.js";
import { LayerView, Limits } from "./maps.js";

const NARROW = matchMedia("(max-width: 1179px)"); // as in page.css

export class Network {
  #views = [];
  #unit = null;
  #marked = null; // the unit that the marks show
  #pinned = false;
  #answer = null;
  limits = new Limits("layer", 4);

  // `pointed(field)` gets the receptive field on the image, or null.
  constructor(pointed) {
    this.pointed = pointed;
    this.panel = byId("unit");
    byId("unpin").addEventListener("click", () => this.#pin(false));
    NARROW.addEventListener("change", () => this.#placePanel());
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#pin(false));
  }

  get layers() {
    return this.#views.map((view) => view.layer);
  }

  get views() {
    return this.#views;
  }

  open(model) {
    this.#marked = null;
    byId("unit-column").append(this.panel); // it may lie among the layers, which go
    this.#views = layersWithMaps(model).map((layer) => new LayerView(layer, (unit, how) => this.point(unit, how)));
    this.#views.forEach((view) => view.grid.addEventListener("keydown", (event) => this.#key(view, event)));
    byId("layers").replaceChildren(...this.#views.map((view) => view.root));
    this.inspector = new Inspector(byId("unit-body"));
    if (this.#hasUnit()) this.#placePanel();
    else this.#forgetUnit();
  }

  // Whether the model that is served now has the unit.
  #hasUnit() {
    const layer = this.layers.find((each) => each.name === this.#unit?.layer);
    const { channel, row, column } = this.#unit ?? {};
    return layer && channel < layer.channels && row < layer.height && column < layer.width;
  }

  #forgetUnit() {
    this.#unit = null;
    this.#pin(false);
  }

  // `answer` is {image: [784] from 0 to 1, maps: Map of name to Float32Array}, or null for a blank sheet.
  show(answer, look) {
    this.#answer = answer;
    this.look = look;
    for (const view of this.#views) {
      const values = answer?.maps.get(view.layer.name);
      if (values) view.show(values, this.limits, look.table);
      else view.clear(look.table);
    }
    if (answer?.maps.size && !this.#unit) this.#unit = this.#strongest();
    this.#showUnit();
  }

  point(unit, how) {
    if (how === "hover" && this.#pinned) return;
    const same = JSON.stringify(unit) === JSON.stringify(this.#unit);
    if (same && how === "hover") return;
    this.#unit = unit;
    if (how === "pick") this.#pin(!(same && this.#pinned));
    this.#showUnit();
    if (how !== "hover") this.#say();
  }

  #pin(pinned) {
    this.#pinned = pinned;
    byId("unpin").hidden = !pinned;
    this.panel.dataset.pinned = String(pinned);
    this.#placePanel();
  }

  // On a narrow screen the panel follows the layer whose unit was picked; there is no room beside it.
  #placePanel() {
    const view = this.#views.find((each) => each.layer.name === this.#unit?.layer);
    if (NARROW.matches && view && this.#pinned) view.root.after(this.panel);
    else if (!NARROW.matches && this.panel.parentNode !== byId("unit-column")) byId("unit-column").append(this.panel);
  }

  #showUnit() {
    const layer = this.layers.find((each) => each.name === this.#unit?.layer);
    const isKnown = layer && this.#answer?.maps.has(layer.name);
    if (this.#marked !== (isKnown ? this.#unit : null)) this.#mark(isKnown ? layer : null);
    if (!isKnown) {
      this.inspector?.clear();
      this.pointed(null);
      return;
    }
    const { channel, row, column } = this.#unit;
    const field = clipped(fieldsOf(this.layers, layer.name, row, column).get("input"), SIDE);
    this.pointed(field);
    const map = this.#channel(layer.name, channel);
    const source = (input) => this.#channel(layer.source, input);
    this.inspector.show(layer, this.#unit, source, map, field, this.look);
  }

  // Only when the unit changes: it costs a layout, and a stroke has none to spare.
  #mark(layer) {
    for (const view of this.#views) view.unmark();
    this.#marked = layer ? this.#unit : null;
    if (!layer) return;
    const { channel, row, column } = this.#unit;
    this.#view(layer.name).mark("unit-mark", { left: column, top: row, size: 1 }, [channel]);
    if (layer.source === "input") return;
    this.#view(layer.source).mark("window", windowOf(layer, row, column), layer.kernel ? null : [channel]);
  }

  #view(name) {
    return this.#views.find((view) => view.layer.name === name);
  }

  #channel(name, channel) {
    if (name === "input") return { data: this.#answer.image, width: SIDE, height: SIDE };
    const { width, height } = this.#view(name).layer;
    const size = width * height;
    return { data: this.#answer.maps.get(name).subarray(channel * size, (channel + 1) * size), width, height };
  }

  // Something to look at before anyone has pointed: the largest value of the first layer.
  #strongest() {
    const { name, width, height } = this.layers[0];
    const values = this.#answer.maps.get(name);
    const at = values?.indexOf(Math.max(...values)) ?? -1;
    if (at < 0) return null;
    const inMap = at % (width * height);
    return { layer: name, channel: Math.floor(at / (width * height)), row: Math.floor(inMap / width), column: inMap % width };
  }

  #key({ layer, isStrip }, event) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const turns = { PageUp: -1, PageDown: 1 };
    const unit = this.#unit?.layer === layer.name ? { ...this.#unit } : { layer: layer.name, channel: 0, row: 0, column: 0 };
    if (event.key === "Enter") return this.point(unit, "pick");
    if (!(event.key in moves) && !(event.key in turns)) return undefined;
    event.preventDefault();
    const [down, right] = moves[event.key] ?? [0, 0];
    const turn = turns[event.key] ?? (isStrip ? right + 30 * down : 0);
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    unit.channel = within(unit.channel + turn, layer.channels);
    unit.row = within(unit.row + down, layer.height);
    unit.column = within(unit.column + right, layer.width);
    return this.point(unit, "key");
  }

  #say() {
    const { layer, channel, row, column } = this.#unit;
    if (!this.#answer?.maps.has(layer)) return;
    const { data, width } = this.#channel(layer, channel);
    const value = signed(data[row * width + column], 3);
    byId("unit-say").replaceChildren(element("span", {}, `${layer}, map ${channel + 1}, row ${row + 1}, column ${column + 1}: ${value}`));
  }
}

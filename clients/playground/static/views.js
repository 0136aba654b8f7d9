// Everything that shows an answer: verdict, maps, the unit that is pointed at, lessons; in the palette and the range of
// colours that the person prefers.

import { lookNow } from "./colours.js";
import { byId } from "./elements.js";
import { Lessons } from "./lessons.js";
import { Limits } from "./maps.js";
import { Network } from "./network.js";
import { showField } from "./reading.js";
import { Verdict } from "./verdict.js";

export class Views {
  #look = lookNow();
  #model = null;
  #verdict = null;
  #answer = null;
  #blank; // the verdict on a blank sheet

  // `newPalette()` is called when what else is drawn in the page's colours must be drawn again.
  constructor(newPalette) {
    const parts = { layers: "layers", unit: "unit", column: "unit-column", body: "unit-body", say: "unit-say", unpin: "unpin" };
    const found = Object.fromEntries(Object.entries(parts).map(([name, id]) => [name, byId(id)]));
    this.network = new Network(found, (field) => showField(field, this.#answer?.place));
    this.lessons = new Lessons(() => this.#look);
    byId("range").addEventListener("change", () => this.#changeRange());
    byId("limit").addEventListener("input", () => this.#changeRange());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#look = lookNow();
      this.lessons.paint(this.#look);
      this.#paint();
      newPalette();
    });
  }

  get layers() {
    return this.network.layers;
  }

  get maps() {
    return this.network.views;
  }

  // Makes room for the layers and classes of a model.
  open(model) {
    this.#model = model;
    this.#verdict = new Verdict(model.classes);
    this.network.open(model);
    this.lessons.open(model, this.network.layers);
    this.show(null);
  }

  // `answer` is {frame, pixels, place}, or null for a blank sheet, of which `blank` says what is the matter.
  show(answer, blank) {
    this.#answer = answer;
    this.#blank = blank;
    this.#paint();
  }

  #paint() {
    if (!this.#model) return;
    if (!this.#answer) {
      this.#verdict.showBlank(this.#blank);
      this.network.show(null, this.#look);
      this.lessons.show(null);
      return;
    }
    const { arrays } = this.#answer.frame;
    const unfamiliarity = arrays.get("unfamiliarity").data[0];
    this.#verdict.show([...arrays.get("probabilities").data], unfamiliarity, this.#model.unfamiliarity_threshold);
    const image = Float32Array.from(this.#answer.pixels, (level) => level / 255);
    const maps = new Map(this.layers.map(({ name }) => [name, arrays.get(name)?.data]).filter(([, map]) => map));
    this.network.show({ image, maps }, this.#look);
    this.lessons.show(image);
  }

  #changeRange() {
    const kind = document.querySelector("[name=range]:checked").value;
    byId("limit-label").hidden = kind !== "fixed";
    this.network.limits = new Limits(kind, Math.max(0.1, Number(byId("limit").value) || 4));
    this.#paint();
  }
}

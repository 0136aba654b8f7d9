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
  #verdict = new Verdict();
  #answer = null;
  #none = ""; // why there is no answer

  // `newPalette()` is called when what else is drawn in the page's colours must be drawn again.
  constructor(newPalette) {
    this.network = new Network((field) => showField(field, this.#answer?.place));
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
    this.#verdict.open(model.classes);
    this.network.open(model);
    this.lessons.open(model, this.network.layers);
  }

  // `answer` is {frame, pixels, place}.
  show(answer) {
    this.#answer = answer;
    this.#paint();
  }

  // `text` says why there is no answer.
  showNone(text) {
    this.#none = text;
    this.show(null);
  }

  #paint() {
    if (!this.#answer) {
      this.#verdict.showNone(this.#none);
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
    const limit = Math.min(100, Math.max(0.1, byId("limit").valueAsNumber || 4));
    this.network.limits = new Limits(kind, limit);
    this.#paint();
  }
}

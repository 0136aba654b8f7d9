// The steps from the drawing to 28 x 28: each as a picture, each with a switch, and what the model would say without it.

import { byId, element } from "./elements.js";
import { STEPS } from "./mnist.js";
import { percent } from "./verdict.js";

const EXPLAINED = {
  invert: ["Bright ink on dark paper", "MNIST is white on black; the commonest mistake is to forget it."],
  crop: ["Cut out the ink", "Where on the sheet you draw, and how large, no longer matters."],
  fit: ["Longer side to 20 pixels", "The shape is kept. Without it the sheet is squeezed to 28 × 28."],
  peak: ["Strongest ink to 255", "Thin lines become pale when they shrink; this brings them back."],
  centre: ["Centre of mass to the middle", "The middle of the ink, not of its box, as in MNIST."],
};

export class Steps {
  #rows = new Map();
  off = new Set();

  constructor(changed) {
    for (const name of STEPS) {
      const [title, text] = EXPLAINED[name];
      const canvas = element("canvas", { width: 28, height: 28, role: "img", "aria-label": `After: ${title}` });
      const box = element("input", { type: "checkbox", checked: "" });
      const worth = element("span", { class: "worth" });
      box.addEventListener("change", () => {
        if (box.checked) this.off.delete(name);
        else this.off.add(name);
        changed();
      });
      const label = element("label", {}, box, ` ${title}`);
      byId("step-list").append(element("li", {}, canvas, element("div", {}, label, element("p", { class: "quiet" }, text), worth)));
      this.#rows.set(name, { canvas, worth });
    }
    byId("steps").addEventListener("toggle", () => {
      changed();
      if (this.isOpen) byId("steps").scrollIntoView({ block: "nearest" });
    });
  }

  get isOpen() {
    return byId("steps").open;
  }

  show(normalised) {
    byId("step-list").hidden = !normalised;
    byId("no-steps").hidden = Boolean(normalised);
    if (!normalised || !this.isOpen) return;
    for (const [name, { canvas, worth }] of this.#rows) {
      paintGrey(canvas, normalised.stages[name]);
    }
  }

  // What the model says of the drawing without each step: `probabilities` is [steps x classes].
  showWorth(probabilities, classes) {
    STEPS.forEach((name, i) => {
      const row = probabilities.subarray(i * classes, (i + 1) * classes);
      const best = row.indexOf(Math.max(...row));
      const { worth } = this.#rows.get(name);
      worth.replaceChildren("without it: ", element("b", {}, String(best)), ` ${percent(row[best])}`);
    });
  }
}

// Shows 0 as black and 255 as white, as a model has them, in either theme.
export function paintGrey(canvas, { data, width, height }) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const level = data[i] ?? 0;
    image.data.set([level, level, level, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

// A square of numbers on their colours: a patch, a kernel or their products.

import { cssColour, largest, wantsDarkText } from "./colours.js";
import { element, signed } from "./elements.js";

export class NumberSquare {
  #cells = [];

  // `mark(index)` is told which cell the person points at, if given.
  constructor(side, name, { digits = 2, className = "" } = {}) {
    this.digits = digits;
    this.body = element("div", { class: `numbers ${className}`, role: "img", "aria-label": name });
    this.body.style.setProperty("--columns", side);
    for (let i = 0; i < side * side; i++) this.#cells.push(this.body.appendChild(element("span")));
    this.root = element("figure", { class: "square" }, this.body, element("figcaption", {}, name));
  }

  show(values, { table, theme }, limit = largest(values)) {
    this.#cells.forEach((cell, i) => {
      const known = i < values.length && !Number.isNaN(values[i]);
      cell.textContent = known ? signed(values[i], this.digits) : "";
      cell.style.backgroundColor = known ? cssColour(values[i], limit, table) : "transparent";
      cell.style.color = wantsDarkText(known ? values[i] : 0, limit, theme) ? "#16181a" : "#fff";
    });
  }

  mark(isMarked) {
    this.#cells.forEach((cell, i) => cell.classList.toggle("marked", isMarked(i)));
  }
}

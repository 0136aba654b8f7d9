// Numbers on the page: a square of them on their colours (a patch, a kernel, their products), and a sum line by line.

import { cssColours, largest } from "./colours.js";
import { element, setText, signed } from "./elements.js";

export class NumberSquare {
  #cells = [];

  constructor(side, name, { digits = 2, className = "" } = {}) {
    this.digits = digits;
    this.body = element("div", { class: `numbers ${className}`, role: "img", "aria-label": name });
    this.body.style.setProperty("--columns", side);
    for (let i = 0; i < side * side; i++) this.#cells.push(this.body.appendChild(element("span")));
    this.root = element("figure", { class: "square" }, this.body, element("figcaption", {}, name));
  }

  show(values, { table }, limit = largest(values)) {
    this.#cells.forEach((cell, i) => {
      const known = i < values.length && !Number.isNaN(values[i]);
      const { ground, text } = cssColours(known ? values[i] : 0, limit, table);
      setText(cell, known ? signed(values[i], this.digits) : "");
      cell.style.backgroundColor = known ? ground : "transparent";
      cell.style.color = text;
    });
  }

  mark(isMarked) {
    this.#cells.forEach((cell, i) => cell.classList.toggle("marked", isMarked(i)));
  }
}

export class Sum {
  #lines;
  #verdict = element("p", { class: "agrees" });

  constructor(count) {
    this.#lines = Array.from({ length: count }, () => ({ name: element("span"), value: element("span", { class: "number" }) }));
    const lines = this.#lines.map(({ name, value }) => element("p", { class: "line" }, name, value));
    this.root = element("div", { class: "sum", id: "sum" }, ...lines, this.#verdict);
  }

  // `terms` are [name, value]; the verdict says whether they add up.
  show(terms, verdict) {
    terms.forEach(([name, value], i) => {
      setText(this.#lines[i].name, name);
      setText(this.#lines[i].value, Number.isNaN(value) ? "–" : signed(value, 6));
    });
    setText(this.#verdict, verdict);
  }
}

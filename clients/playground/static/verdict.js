// What the model says: a bar with its number for each class, and one verdict. That there is none is the page's own word.

import { byId, element, setText } from "./elements.js";

export class Verdict {
  #rows = [];

  // Makes a row for each class of a model.
  open(classes) {
    this.#rows = [];
    byId("bars").replaceChildren();
    for (const name of classes) {
      const bar = element("i");
      const number = element("span", { class: "number" }, "–");
      const row = element("li", {}, element("b", {}, name), element("span", { class: "track" }, bar), number);
      this.#rows.push({ row, bar, number });
      byId("bars").append(row);
    }
  }

  show(probabilities, unfamiliarity, threshold) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    const doubted = threshold > 0 && unfamiliarity > threshold;
    this.#rows.forEach(({ row, bar, number }, i) => {
      bar.style.transform = `scaleX(${probabilities[i]})`;
      setText(number, percent(probabilities[i]));
      row.classList.toggle("best", i === best);
    });
    const sure = `${percent(probabilities[best])} sure`;
    this.#say(doubted ? "doubted" : "digit", String(best), doubted ? `not a digit? Nearest is ${best}, ${sure}` : sure);
  }

  // `text` says why there is none.
  showNone(text) {
    for (const { row, bar, number } of this.#rows) {
      bar.style.transform = "scaleX(0)";
      number.textContent = "–";
      row.classList.remove("best");
    }
    this.#say("blank", "–", text);
  }

  #say(state, digit, text) {
    const box = byId("verdict");
    if (box.dataset.state !== state) box.dataset.state = state;
    setText(byId("verdict-digit"), state === "doubted" ? "?" : digit);
    setText(byId("verdict-text"), text);
  }
}

export function percent(probability) {
  return `${(100 * probability).toFixed(1)} %`;
}

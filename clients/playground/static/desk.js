// What is on the sheet, whoever put it there: the pen, a sample, a link, a picture, or the history.

import { EMPTY, History, isEmpty } from "./drawing.js";
import { Easel } from "./easel.js";
import { byId } from "./elements.js";
import { documentOf } from "./link.js";
import { Samples } from "./samples.js";
import { listenToTools, showHistory } from "./tools.js";

export class Desk {
  #history = new History();
  #document = EMPTY;
  #opened = null; // the link that was opened last

  // `changed(at)`: `at` is when the pen moved, null if something else drew; `damaged()`: a link holds no drawing.
  constructor(changed, damaged) {
    this.changed = changed;
    this.damaged = damaged;
    this.easel = new Easel(byId("sheet"), byId("sheet-pen"), (document, at, ended) => this.#drawn(document, at, ended));
    this.samples = new Samples(byId("samples"), (document, ended) => (ended ? this.replace(document) : this.#show(document)));
    listenToTools(this);
  }

  // A stroke or a sample under way is a part of it.
  get document() {
    return this.#document;
  }

  // Looks for a drawing in the page's address, now and whenever that changes.
  followLinks() {
    addEventListener("hashchange", () => this.#openLink());
    this.#openLink();
  }

  // Takes back what is under way, or else the newest step.
  undo() {
    this.#settle();
    if (this.#document === this.#history.current) this.#history.undo();
    this.#show(this.#history.current);
  }

  redo() {
    this.#settle();
    this.#history.redo();
    this.#show(this.#history.current);
  }

  clear() {
    this.replace(EMPTY);
  }

  // Puts another drawing in place of the one that is there, which can be undone.
  replace(document) {
    this.#settle();
    this.#history.add(document);
    this.#show(document);
  }

  #drawn(document, at, ended) {
    this.samples.stop();
    if (ended) this.#history.add(document);
    this.#note(document, at);
  }

  #show(document) {
    this.easel.show(document);
    this.#note(document, null);
  }

  #note(document, at) {
    this.#document = document;
    showHistory(this.#history, document);
    byId("sheet-hint").hidden = !isEmpty(document);
    this.changed(at);
  }

  // Ends what is under way: a sample that is being drawn, and a stroke, which becomes a step of its own.
  #settle() {
    this.samples.stop();
    this.easel.finish();
  }

  #openLink() {
    try {
      const document = documentOf(location.hash);
      // The same link again is met by going back on the page, when the sheet may hold a newer drawing.
      if (!document || location.hash === this.#opened) return;
      this.#opened = location.hash;
      this.replace(document);
    } catch {
      this.damaged();
    }
  }
}

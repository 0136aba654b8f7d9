// The way of a drawing: from the easel to 28 x 28 pixels, to the server, and its answer to every view.

import { Asker, Refused, describe } from "./asking.js";
import { Connection } from "./connection.js";
import { EMPTY, History, SIDE, isEmpty } from "./drawing.js";
import { Easel } from "./easel.js";
import { byId } from "./elements.js";
import { acceptable, listenForPictures } from "./intake.js";
import { Keep } from "./keep.js";
import { documentOf } from "./link.js";
import { Pace } from "./pace.js";
import { Reading, withoutEachStep } from "./reading.js";
import { Samples } from "./samples.js";
import { Steps, paintGrey } from "./steps.js";
import { listenToTools, showHistory } from "./tools.js";
import { Views } from "./views.js";

class Page {
  #history = new History();
  #reading = new Reading();
  #asker = new Asker();
  #pace = new Pace(byId("about"));
  #model = null;
  #mapsRefused = false;
  #seen = null; // the reading of the newest question
  #answer = null; // {frame, pixels, place} of the newest one
  #document = EMPTY; // what is on the sheet, a stroke under way included

  constructor() {
    this.easel = new Easel(byId("sheet"), byId("sheet-pen"), (document, at, ended) => this.#drawn(document, at, ended));
    this.views = new Views(() => this.easel.redraw());
    this.steps = new Steps(() => this.analyse());
    this.samples = new Samples(byId("samples"), (document, ended) => this.#replace(document, ended));
    this.keep = new Keep(() => this.#kept());
    this.connection = new Connection(() => this.#serverIsBack());
  }

  start() {
    listenToTools(this);
    listenForPictures(byId("file"), (file) => this.#takePicture(file));
    addEventListener("hashchange", () => this.#openLink());
    this.#openLink();
    this.connection.check();
  }

  undo() {
    this.#travel(() => this.#history.undo());
  }

  redo() {
    this.#travel(() => this.#history.redo());
  }

  clear() {
    this.#replace(EMPTY, true);
  }

  // `at` is when the pen moved; nothing if it did not.
  analyse(at = null) {
    showHistory(this.#history, this.#document);
    this.#asker.ask({
      prepare: () => this.#question(),
      done: (frame) => this.#answered(frame, at),
      failed: (error) => this.#failed(error),
    });
  }

  #drawn(document, at, ended) {
    this.samples.stop();
    if (!this.#mapsRefused) this.#notice("");
    this.#document = document;
    if (ended) this.#history.add(document);
    this.analyse(at);
  }

  #replace(document, ended) {
    if (ended) this.#history.add(document);
    this.#document = document;
    this.easel.show(document);
    this.analyse();
  }

  #travel(move) {
    this.samples.stop();
    move();
    this.#replace(this.#history.current, false);
  }

  #openLink() {
    try {
      const document = documentOf(location.hash);
      if (document) this.#replace(document, true);
    } catch {
      this.#notice("The link holds no drawing that can be read; perhaps a part of it is missing.");
    }
  }

  // The pixels of the drawing, and what to ask about them; null if there is nothing to ask.
  #question() {
    this.#seen = this.#reading.of(this.#document, this.steps.off);
    const { pixels, normalised } = this.#seen;
    paintGrey(byId("seen"), { data: pixels ?? [], width: SIDE, height: SIDE });
    this.steps.show(normalised);
    if (!pixels) this.#showBlank();
    if (!pixels || !this.#model || !this.connection.isServing) return null;
    return { body: pixels, maps: this.#maps() };
  }

  #maps() {
    return this.#mapsRefused ? [] : this.views.layers.map((layer) => layer.name);
  }

  #showBlank() {
    this.#answer = null;
    this.views.show(null, isEmpty(this.#document) ? undefined : "blank: no ink on the sheet");
  }

  #answered(frame, at) {
    const { pixels, place } = this.#seen;
    if (!pixels) return; // cleared meanwhile
    this.#answer = { frame, pixels, place };
    this.easel.redraw();
    this.views.show(this.#answer);
    if (at !== null) this.#pace.note(at);
    if (frame.version !== this.#model.version) this.#serverIsBack().catch(() => this.connection.lost());
    if (this.steps.isOpen && this.#asker.hasNothingNewer) this.#askWorth();
  }

  // What each step is worth: the same drawing without it, all in one request, when the pen has nothing new.
  #askWorth() {
    const body = withoutEachStep(this.#seen, this.steps.off);
    if (!body) return;
    const done = (frame) => this.steps.showWorth(frame.arrays.get("probabilities").data, this.#model.classes.length);
    this.#asker.ask({ prepare: () => ({ body, maps: [] }), done, failed: (error) => this.#failed(error) });
  }

  #failed(error) {
    if (error instanceof Refused && !this.#mapsRefused) {
      this.#mapsRefused = true;
      this.#notice(`No maps from this server: ${error.message}`);
      this.analyse();
    } else if (error instanceof Refused) {
      this.#notice(error.message);
    } else {
      this.connection.lost();
    }
  }

  async #serverIsBack() {
    this.#model = await describe();
    this.#mapsRefused = false;
    this.views.open(this.#model);
    this.#pace.describe(this.#model);
    byId("status").dataset.model = `${this.#model.name} version ${this.#model.version}`;
    await this.samples.load();
    if (!this.views.layers.length) this.#notice("This server's model has no feature maps to show.");
    setTimeout(() => this.analyse()); // once the connection counts as serving
  }

  async #takePicture(file) {
    this.samples.stop();
    if (!this.#model) return;
    try {
      const body = await acceptable(file, this.#model.limits);
      const done = ({ arrays }) => this.#replace({ ...EMPTY, base: Uint8Array.from(arrays.get("pixels").data) }, true);
      const failed = (error) => (error instanceof Refused ? this.#notice(error.message) : this.#failed(error));
      this.#notice("");
      this.#asker.ask({ prepare: () => ({ body, type: body.type, maps: [] }), done, failed });
    } catch (error) {
      this.#notice(error.message);
    }
  }

  #kept() {
    return { document: this.#document, model: this.#model, answer: this.#answer, views: this.views.maps };
  }

  #notice(text) {
    byId("notice").hidden = !text;
    byId("notice").textContent = text;
  }
}

new Page().start();

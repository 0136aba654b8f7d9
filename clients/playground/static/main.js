// The way of a drawing: from the desk to 28 x 28 pixels, to the server, and its answer to every view.

import { Asker, Refused, describe } from "./asking.js";
import { Connection } from "./connection.js";
import { Desk } from "./desk.js";
import { EMPTY, SIDE, isEmpty } from "./drawing.js";
import { byId } from "./elements.js";
import { acceptable, listenForPictures } from "./intake.js";
import { Keep } from "./keep.js";
import { Pace } from "./pace.js";
import { Reading, withoutEachStep } from "./reading.js";
import { Steps, paintGrey } from "./steps.js";
import { Views } from "./views.js";

const PATIENCE_MS = 5000; // with a model that is not the one described

class Page {
  #reading = new Reading();
  #asker = new Asker();
  #pace = new Pace(byId("about"));
  #model = null;
  #describedAt = 0; // when the model was, in milliseconds
  #mapsRefused = false;
  #seen = null; // the reading of the newest question
  #answer = null; // {frame, pixels, place} of the newest one

  constructor() {
    const damaged = () => this.#notice("The link holds no drawing that can be read; perhaps a part of it is missing.");
    this.desk = new Desk((at) => this.#changed(at), damaged);
    this.views = new Views(() => this.desk.easel.redraw());
    this.steps = new Steps(() => this.#analyse());
    this.keep = new Keep(() => this.#kept());
    this.connection = new Connection(() => this.#serverIsBack());
    listenForPictures(byId("file"), (file) => this.#takePicture(file));
  }

  start() {
    this.desk.followLinks();
    this.connection.check();
  }

  #changed(at) {
    if (!this.#mapsRefused) this.#notice("");
    this.#analyse(at);
  }

  // `at` is when the pen moved; null if it did not.
  #analyse(at = null) {
    this.#asker.ask({
      prepare: () => this.#question(),
      done: (frame) => this.#answered(frame, at),
      failed: (error) => this.#failed(error),
    });
  }

  // The pixels of the drawing, and what to ask about them; null if there is nothing to ask.
  #question() {
    this.#seen = this.#reading.of(this.desk.document, this.steps.off);
    const { pixels, normalised } = this.#seen;
    paintGrey(byId("seen"), { data: pixels ?? [], width: SIDE, height: SIDE });
    this.steps.show(normalised);
    if (!pixels) return this.#showNone(isEmpty(this.desk.document) ? "blank: nothing drawn yet" : "blank: no ink on the sheet");
    if (!this.connection.isServing) return this.#showNone("not read yet: waiting for the server");
    return { body: pixels, maps: this.#maps() };
  }

  #maps() {
    return this.#mapsRefused ? [] : this.views.layers.map((layer) => layer.name);
  }

  #showNone(text) {
    this.#answer = null;
    this.views.showNone(text);
    return null;
  }

  #answered(frame, at) {
    const { pixels, place } = this.#seen;
    this.#answer = { frame, pixels, place };
    this.desk.easel.redraw();
    this.views.show(this.#answer);
    if (at !== null) this.#pace.note(at);
    if (frame.version !== this.#model.version) this.#meetNewModel();
    if (this.steps.isOpen && this.#asker.hasNothingNewer) this.#askWorth();
  }

  // Not at every answer: behind one address there may be servers of two versions.
  #meetNewModel() {
    if (performance.now() - this.#describedAt > PATIENCE_MS) this.#serverIsBack().catch(() => this.connection.lost());
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
      this.#analyse();
    } else if (error instanceof Refused) {
      this.#notice(error.message);
    } else {
      this.connection.lost();
      this.#showNone("not read yet: waiting for the server");
    }
  }

  async #serverIsBack() {
    this.#model = await describe();
    this.#describedAt = performance.now();
    this.#mapsRefused = false;
    this.views.open(this.#model);
    this.#pace.describe(this.#model);
    byId("status").dataset.model = `${this.#model.name} version ${this.#model.version}`;
    await this.desk.samples.load();
    if (!this.views.layers.length) this.#notice("This server's model has no feature maps to show.");
    setTimeout(() => this.#analyse()); // once the connection counts as serving
  }

  async #takePicture(file) {
    if (!this.connection.isServing) {
      this.#notice("The server is away, and it reads the pictures. Give this one again when it is back.");
      return;
    }
    try {
      const body = await acceptable(file, this.#model.limits);
      const done = ({ arrays }) => this.desk.replace({ ...EMPTY, base: Uint8Array.from(arrays.get("pixels").data) });
      const failed = (error) => {
        if (!(error instanceof Refused)) this.connection.lost();
        this.#notice(error.message);
      };
      this.#notice("");
      this.#asker.ask({ prepare: () => ({ body, type: body.type, maps: [] }), done, failed });
    } catch (error) {
      this.#notice(error.message);
    }
  }

  #kept() {
    return { document: this.desk.document, model: this.#model, answer: this.#answer, views: this.views.maps };
  }

  #notice(text) {
    byId("notice").hidden = !text;
    byId("notice").textContent = text;
  }
}

new Page().start();

// Whether the model server is there. The page asks every two seconds while it is visible, more often while the server is
// away, and tells when that changes; so it recovers by itself.

import { isServing } from "./asking.js";
import { byId } from "./elements.js";

const CALM_MS = 2000;
const EAGER_MS = 700;
const WORDS = {
  serving: () => byId("status").dataset.model,
  away: () => "server away, trying again",
  gone: () => "playground away, trying again",
};

export class Connection {
  #state = "waiting";
  #timer = null;

  // `back()` is called when the server has come back, and may throw if it has not quite.
  constructor(back) {
    this.back = back;
    document.addEventListener("visibilitychange", () => this.check());
  }

  get isServing() {
    return this.#state === "serving";
  }

  lost() {
    this.#show("away");
    this.#again(EAGER_MS);
  }

  async check() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    const serving = await isServing();
    if (serving && !this.isServing) await this.#comeBack();
    else if (!serving) this.#show(serving === null ? "gone" : "away");
    this.#again(this.isServing ? CALM_MS : EAGER_MS);
  }

  async #comeBack() {
    try {
      await this.back();
      this.#show("serving");
    } catch {
      this.#show("away");
    }
  }

  #again(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.check(), delay);
  }

  #show(state) {
    this.#state = state;
    const status = byId("status");
    if (status.dataset.state === state) return;
    status.dataset.state = state;
    status.querySelector("span").textContent = WORDS[state]();
  }
}

// How long it takes from a movement of the pen to the maps: measured at every answer, for anyone to see.

const KEPT = 101;
const QUIET_MS = 300;

export class Pace {
  #about;
  #times = [];
  #timer = null;
  #model = "";

  constructor(about) {
    this.#about = about;
  }

  describe({ name, version, provider, evaluation }) {
    const right = `${(100 * evaluation.accuracy).toFixed(2)} % right on ${evaluation.test_images.toLocaleString("en")} images`;
    this.#model = `${name} version ${version} on ${provider}, ${right} (${evaluation.test_set}).`;
    this.#show();
  }

  // The maps are on their canvases now; they count as shown when the browser makes its next frame.
  note(movedAt) {
    requestAnimationFrame(() => {
      const { duration } = performance.measure("pen to maps", { start: movedAt, end: performance.now() });
      performance.clearMeasures("pen to maps"); // observers have it; kept, they would pile up
      this.#times = [...this.#times.slice(1 - KEPT), duration];
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#show(), QUIET_MS); // the telling must not take part in what is measured
    });
  }

  #show() {
    const sorted = [...this.#times].sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1];
    this.#about.textContent = this.#model + (sorted.length ? ` From pen to maps: ${Math.round(median)} ms (median).` : "");
  }
}

// The drawing: an immutable document of strokes, and the history of documents that undo and redo walk along.
//
// A stroke is `{erase, size, points}`; points are [x, y] on a sheet of SHEET x SHEET, whatever size the canvas has on the
// screen. A document may stand on a `base`: the 784 bytes that the model server found in a picture, under the strokes.

export const SHEET = 280; // pixels that are analysed: what the server itself would reduce a picture to
export const SIDE = 28; // pixels of an image in MNIST form

export const EMPTY = Object.freeze({ base: null, strokes: Object.freeze([]) });

export function isEmpty(document) {
  return !document.base && document.strokes.length === 0;
}

export function withStroke(document, stroke) {
  return { ...document, strokes: [...document.strokes, stroke] };
}

export class History {
  #states = [EMPTY];
  #now = 0;

  get current() {
    return this.#states[this.#now];
  }

  get canUndo() {
    return this.#now > 0;
  }

  get canRedo() {
    return this.#now < this.#states.length - 1;
  }

  add(document) {
    if (document === this.current || (isEmpty(document) && isEmpty(this.current))) return;
    this.#states = [...this.#states.slice(0, this.#now + 1), document];
    this.#now += 1;
  }

  undo() {
    this.#now = Math.max(0, this.#now - 1);
  }

  redo() {
    this.#now = Math.min(this.#states.length - 1, this.#now + 1);
  }
}

// The sheet on the screen, and the pens that draw on it: mouse, finger and stylus through pointer events, and the keys.
//
// A stroke under way is part of the document that is shown and analysed, but enters the history only when it ends, so
// that undo takes back whole strokes. Pressure is ignored: MNIST's pens had none.

import { EMPTY, SHEET, withStroke } from "./drawing.js";
import { drawInk } from "./ink.js";

const KEY_STEP = 4; // of the sheet's 280
const CLOSEST = 1; // points nearer to the one before say nothing new

export class Easel {
  #canvas;
  #cursor;
  #shown = EMPTY;
  #finished = EMPTY;
  #stroke = null;
  #frame = null; // asked for, to redraw in
  #keyPen = { x: SHEET / 2, y: SHEET / 4 };
  tool = { erase: false, size: SHEET / 10 };

  // `changed(document, at, isFinished)`: `at` is the time of the newest movement in the document.
  constructor(canvas, cursor, changed) {
    this.#canvas = canvas;
    this.#cursor = cursor;
    this.changed = changed;
    this.#listen();
    new ResizeObserver(() => this.redraw()).observe(canvas);
  }

  show(document) {
    this.#stroke = null;
    this.#shown = this.#finished = document;
    this.redraw();
  }

  // Ends a stroke that is under way.
  finish() {
    if (this.#stroke) this.#end(performance.now());
  }

  redraw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = null;
    const side = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    if (this.#canvas.width !== side) this.#canvas.width = this.#canvas.height = side;
    if (side) drawInk(this.#canvas.getContext("2d"), this.#shown, getComputedStyle(this.#canvas).color);
  }

  #listen() {
    const on = (type, act) => this.#canvas.addEventListener(type, act);
    on("pointerdown", (event) => this.#down(event));
    // Raw updates come at once, where moves wait for the next frame; not all browsers have them.
    on("onpointerrawupdate" in window ? "pointerrawupdate" : "pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#up(event));
    on("keydown", (event) => this.#key(event));
    on("blur", () => this.#liftKeyPen());
  }

  #down(event) {
    const isPalm = this.#stroke !== null && event.pointerType === "touch";
    if (event.button !== 0 || !event.isPrimary || isPalm) return;
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#cursor.hidden = true;
    this.#begin(this.#place(event), event.timeStamp, event.pointerId);
  }

  #move(event) {
    if (this.#stroke?.pointer !== event.pointerId) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) this.#extend(this.#place(each));
    this.#update(event.timeStamp);
  }

  #up(event) {
    if (this.#stroke?.pointer === event.pointerId) this.#end(event.timeStamp);
  }

  #place(event) {
    const box = this.#canvas.getBoundingClientRect();
    const on = (value, start, length) => onSheet(((value - start) / length) * SHEET);
    return [on(event.clientX, box.left, box.width), on(event.clientY, box.top, box.height)];
  }

  #begin(point, at, pointer) {
    this.finish();
    this.#stroke = { ...this.tool, points: [point], pointer };
    this.#update(at);
  }

  #extend(point) {
    const [x, y] = this.#stroke.points.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) >= CLOSEST) this.#stroke.points.push(point);
  }

  #update(at) {
    const { erase, size, points } = this.#stroke;
    this.#shown = withStroke(this.#finished, { erase, size, points: [...points] });
    this.#frame ??= requestAnimationFrame(() => this.redraw());
    this.changed(this.#shown, at, false);
  }

  #end(at) {
    this.#stroke = null;
    this.#finished = this.#shown;
    this.changed(this.#shown, at, true);
  }

  #key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || (!move && event.key !== " ")) return;
    event.preventDefault();
    if (move) this.#moveKeyPen(move, event);
    else if (this.#stroke) this.#liftKeyPen();
    else this.#begin([this.#keyPen.x, this.#keyPen.y], event.timeStamp, "keys");
    this.#showKeyPen();
  }

  #moveKeyPen([x, y], event) {
    const step = KEY_STEP * (event.shiftKey ? 4 : 1);
    this.#keyPen = { x: onSheet(this.#keyPen.x + x * step), y: onSheet(this.#keyPen.y + y * step) };
    if (this.#stroke?.pointer !== "keys") return;
    this.#extend([this.#keyPen.x, this.#keyPen.y]);
    this.#update(event.timeStamp);
  }

  #liftKeyPen() {
    if (this.#stroke?.pointer === "keys") this.finish();
    this.#cursor.hidden = true;
  }

  #showKeyPen() {
    this.#cursor.hidden = false;
    this.#cursor.dataset.down = String(this.#stroke !== null);
    for (const [property, value] of [["left", this.#keyPen.x], ["top", this.#keyPen.y]]) {
      this.#cursor.style[property] = `${(value / SHEET) * 100}%`;
    }
    this.#cursor.style.width = `${(this.tool.size / SHEET) * 100}%`;
  }
}

// Half pixels are fine enough for a pen, and make short links.
function onSheet(value) {
  return Math.round(Math.min(SHEET, Math.max(0, value)) * 2) / 2;
}

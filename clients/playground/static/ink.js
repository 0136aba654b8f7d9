// Puts a drawing's ink onto a canvas. The sheet that is analysed and the one on the screen are drawn by the same code, at
// different scales, so that neither the screen's size nor its pixel ratio changes what the model sees.

import { SHEET, SIDE } from "./drawing.js";

// Draws bright ink on a transparent ground; the context's canvas is square.
export function drawInk(context, { base, strokes }, colour = "#fff") {
  const side = context.canvas.width;
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, side, side);
  if (base) drawBase(context, base);
  context.save();
  context.scale(side / SHEET, side / SHEET);
  for (const stroke of strokes) drawStroke(context, stroke);
  context.restore();
  context.globalCompositeOperation = "source-in"; // all the ink in one colour, as opaque as it was
  context.fillStyle = colour;
  context.fillRect(0, 0, side, side);
}

// Brightness [SHEET * SHEET] from 0 to 255, of bright ink on dark paper.
export class Sheet {
  #context;

  constructor() {
    const canvas = new OffscreenCanvas(SHEET, SHEET);
    this.#context = canvas.getContext("2d", { willReadFrequently: true });
  }

  read(document) {
    drawInk(this.#context, document);
    const { data } = this.#context.getImageData(0, 0, SHEET, SHEET);
    const grey = new Float32Array(SHEET * SHEET);
    for (let i = 0; i < grey.length; i++) grey[i] = data[4 * i + 3];
    return grey;
  }
}

function drawStroke(context, { points, size, erase }) {
  context.globalCompositeOperation = erase ? "destination-out" : "source-over";
  context.strokeStyle = context.fillStyle = "#fff";
  context.lineWidth = size;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  const [first, ...rest] = points;
  if (rest.length === 0) {
    context.arc(...first, size / 2, 0, 2 * Math.PI);
    context.fill();
    return;
  }
  context.moveTo(...first);
  // Each curve ends half-way to the next point, with the point itself as its control: no corners where a hand made none.
  for (let i = 0; i < rest.length - 1; i++) {
    const [x, y] = rest[i];
    const [nextX, nextY] = rest[i + 1];
    context.quadraticCurveTo(x, y, (x + nextX) / 2, (y + nextY) / 2);
  }
  context.lineTo(...rest.at(-1));
  context.stroke();
}

function drawBase(context, base) {
  const small = new OffscreenCanvas(SIDE, SIDE);
  const inner = small.getContext("2d");
  const image = inner.createImageData(SIDE, SIDE);
  base.forEach((level, i) => image.data.set([255, 255, 255, level], 4 * i));
  inner.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, context.canvas.width, context.canvas.height);
}

// From the drawing to the question: its 784 pixels, and where they lie on the sheet, so that what a unit sees of the image
// can be outlined on the drawing.

import { SHEET, SIDE } from "./drawing.js";
import { byId } from "./elements.js";
import { Sheet } from "./ink.js";
import { place as placeMark } from "./maps.js";
import { STEPS, normalise } from "./mnist.js";

const WHOLE_SHEET = { x: 0, y: 0, scaleX: SHEET / SIDE, scaleY: SHEET / SIDE };

export class Reading {
  #sheet = new Sheet();

  // Returns {pixels, place}, undefined for a blank sheet; of strokes also `normalised` and the sheet in `grey`.
  of(document, off) {
    // The pixels of a picture are as the server found them, and need no second pass.
    if (document.base && !document.strokes.length) return { pixels: document.base, place: WHOLE_SHEET };
    const grey = this.#sheet.read(document);
    const normalised = normalise(grey, off);
    return { grey, normalised, pixels: normalised?.pixels, place: normalised?.place };
  }
}

// The images that come of leaving out one more step each, one after the other; null if there are no steps.
export function withoutEachStep({ grey }, off) {
  if (!grey) return null;
  const images = STEPS.map((step) => normalise(grey, new Set([...off, step])).pixels);
  return new Uint8Array(images.flatMap((pixels) => [...pixels]));
}

// Outlines a receptive field on the image that the model sees and on the drawing, or hides both outlines.
export function showField(field, place) {
  for (const id of ["sheet-field", "seen-field"]) byId(id).hidden = !field || !place;
  if (!field || !place) return;
  placeMark(byId("seen-field"), field, { width: SIDE, height: SIDE });
  const onSheet = { ...field, left: field.left + place.x / place.scaleX, top: field.top + place.y / place.scaleY };
  placeMark(byId("sheet-field"), onSheet, { width: SHEET / place.scaleX, height: SHEET / place.scaleY });
}

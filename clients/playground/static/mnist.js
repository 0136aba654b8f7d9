// Brings a drawing to the form of MNIST, step by step: what the server does to a picture (serving/images.py), here in the
// page, so that every step can be seen and switched off, and so that a stroke costs 784 bytes and no PNG.
//
// The two must agree to the pixel; a test compares them. That is why rounding and resampling are Python's and Pillow's.
// A picture is `{data, width, height}`, data a Float32Array from 0 to 255.

import { SHEET, SIDE } from "./drawing.js";

const FAINTEST_INK = 0.12; // of the darkest
const MIN_CONTRAST = 8;
const LONGER_SIDE = 20;

export const STEPS = ["invert", "crop", "fit", "peak", "centre"];

// Returns `{pixels, stages, place}`, or null for a blank sheet. `stages` holds the picture after each step; `place` says
// where the image lies on the sheet: x on the sheet = place.x + place.scaleX * x in the image, likewise y.
export function normalise(grey, off = new Set()) {
  const drawn = { data: grey, width: SHEET, height: SHEET };
  if (peakOf(grey) < MIN_CONTRAST) return null;
  const bright = off.has("invert") ? { ...drawn, data: grey.map((level) => 255 - level) } : drawn;
  const box = off.has("crop") ? { left: 0, top: 0, width: SHEET, height: SHEET } : boxOfInk(bright);
  const cropped = crop(bright, box);
  const fitted = off.has("fit") ? resize(cropped, SIDE, SIDE) : fit(cropped);
  const stretched = off.has("peak") ? fitted : stretch(fitted);
  const [left, top] = off.has("centre") ? middle(stretched) : centreOfMass(stretched);
  const placed = paste(stretched, left, top);
  const [scaleX, scaleY] = [box.width / fitted.width, box.height / fitted.height];
  const place = { scaleX, scaleY, x: box.left - left * scaleX, y: box.top - top * scaleY };
  const stages = { invert: bright, crop: cropped, fit: fitted, peak: stretched, centre: placed };
  return { pixels: Uint8Array.from(placed.data, roundHalfEven), stages, place, box };
}

function boxOfInk({ data, width, height }) {
  const peak = peakOf(data);
  const [rows, columns] = [new Float32Array(height), new Float32Array(width)];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[i] > rows[y]) rows[y] = data[i];
      if (data[i] > columns[x]) columns[x] = data[i];
    }
  }
  const halfPixel = roundHalfEven(Math.max(extent(rows, peak), extent(columns, peak)) / 40);
  const [left, top] = [edge(columns, halfPixel, peak), edge(rows, halfPixel, peak)];
  const right = width - edge(columns.toReversed(), halfPixel, peak);
  const bottom = height - edge(rows.toReversed(), halfPixel, peak);
  return { left, top, width: right - left, height: bottom - top };
}

function extent(profile, peak) {
  const isInk = (level) => level > FAINTEST_INK * peak;
  return profile.findLastIndex(isInk) - profile.findIndex(isInk) + 1;
}

// Where ink begins, with hard or soft edges: where it has 0.4 of what comes half a pixel later.
function edge(profile, halfPixel, peak) {
  const last = profile.length - 1;
  const begins = (level, i) => level > FAINTEST_INK * peak && level >= 0.4 * profile[Math.min(i + halfPixel, last)];
  return Math.max(0, profile.findIndex(begins));
}

function crop({ data, width }, box) {
  const out = new Float32Array(box.width * box.height);
  for (let y = 0; y < box.height; y++) {
    const start = (box.top + y) * width + box.left;
    out.set(data.subarray(start, start + box.width), y * box.width);
  }
  return { data: out, width: box.width, height: box.height };
}

function fit(picture) {
  const longer = Math.max(picture.width, picture.height);
  const [width, height] = [picture.width, picture.height].map((side) =>
    Math.max(1, roundHalfEven((LONGER_SIDE * side) / longer)),
  );
  return resize(picture, width, height);
}

function stretch(picture) {
  const factor = Math.fround(255 / peakOf(picture.data));
  return { ...picture, data: picture.data.map((level) => level * factor) };
}

// The corner that puts the centre of mass within half a pixel of row and column 14, as in MNIST.
function centreOfMass({ data, width, height }) {
  let [mass, sumX, sumY] = [0, 0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      mass += data[i];
      sumX += x * data[i];
      sumY += y * data[i];
    }
  }
  const corner = (sum, length) => Math.min(Math.max(Math.trunc(14.5 - sum / mass), 0), SIDE - length);
  return [corner(sumX, width), corner(sumY, height)];
}

function middle({ width, height }) {
  return [(SIDE - width) >> 1, (SIDE - height) >> 1];
}

function paste({ data, width, height }, left, top) {
  const out = new Float32Array(SIDE * SIDE);
  for (let y = 0; y < height; y++) out.set(data.subarray(y * width, (y + 1) * width), (top + y) * SIDE + left);
  return { data: out, width: SIDE, height: SIDE };
}

// Averages areas where a picture shrinks, and interpolates where it grows: Pillow's BOX and BILINEAR.
function resize(picture, width, height) {
  const grows = width * height > picture.width * picture.height;
  const wide = resizeRows(picture, width, grows);
  return transpose(resizeRows(transpose(wide), height, grows));
}

function resizeRows({ data, width, height }, newWidth, grows) {
  if (newWidth === width) return { data, width, height };
  const windows = Array.from({ length: newWidth }, (_, x) => weights(x, width / newWidth, width, grows));
  const out = new Float32Array(newWidth * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < newWidth; x++) {
      const { first, shares } = windows[x];
      let sum = 0;
      for (let i = 0; i < shares.length; i++) sum += shares[i] * data[y * width + first + i];
      out[y * newWidth + x] = sum;
    }
  }
  return { data: out, width: newWidth, height };
}

function weights(x, scale, length, grows) {
  const stretchBy = Math.max(scale, 1);
  const support = (grows ? 1 : 0.5) * stretchBy;
  const centre = (x + 0.5) * scale;
  const first = Math.max(0, Math.trunc(centre - support + 0.5));
  const end = Math.min(length, Math.trunc(centre + support + 0.5));
  const raw = Array.from({ length: end - first }, (_, i) => {
    const t = (first + i - centre + 0.5) / stretchBy;
    return grows ? Math.max(0, 1 - Math.abs(t)) : Number(t > -0.5 && t <= 0.5);
  });
  const total = raw.reduce((sum, share) => sum + share, 0);
  return { first, shares: raw.map((share) => share / total) };
}

function transpose({ data, width, height }) {
  const out = new Float32Array(data.length);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) out[x * height + y] = data[y * width + x];
  return { data: out, width: height, height: width };
}

function peakOf(data) {
  let peak = 0;
  for (let i = 0; i < data.length; i++) if (data[i] > peak) peak = data[i];
  return peak;
}

function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

// A link that holds the whole drawing, in the part after `#`, which browsers do not send to anyone.
//
// Bytes in base64url: a version; the base picture, if any; then each stroke as kind, width, number of points, and steps
// from point to point in half pixels, one or two bytes each.

import { EMPTY, SIDE } from "./drawing.js";

const VERSION = 1;
const MARK = "#d=";
const MOST_POINTS = 200_000;

export function linkOf(document) {
  const bytes = [VERSION, document.base ? 1 : 0, ...(document.base ?? [])];
  for (const { erase, size, points } of document.strokes) {
    bytes.push(erase ? 1 : 0);
    for (const number of [Math.round(size * 2), points.length]) pushNumber(bytes, number);
    let before = [0, 0];
    for (const point of points) {
      point.forEach((value, i) => pushNumber(bytes, zigzag(Math.round(2 * value) - Math.round(2 * before[i]))));
      before = point;
    }
  }
  const text = bytes.map((byte) => String.fromCharCode(byte)).join("");
  return MARK + btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// Returns the drawing, or null if the link holds none; throws if it is damaged.
export function documentOf(hash) {
  if (!hash.startsWith(MARK)) return null;
  return read(atob(hash.slice(MARK.length).replaceAll("-", "+").replaceAll("_", "/")));
}

function read(text) {
  let at = 0;
  const next = () => {
    if (at >= text.length) throw new RangeError("the link ends too early");
    return text.charCodeAt(at++);
  };
  const number = () => {
    let [value, shift, byte] = [0, 0, 0];
    do {
      byte = next();
      value += (byte & 127) * 2 ** shift;
      shift += 7;
    } while (byte & 128 && shift < 35);
    return value;
  };
  if (next() !== VERSION) throw new RangeError("the link is of another version");
  const base = next() ? Uint8Array.from({ length: SIDE * SIDE }, next) : null;
  const strokes = [];
  while (at < text.length) strokes.push(readStroke(next() === 1, number));
  return { ...EMPTY, base, strokes };
}

function readStroke(erase, number) {
  const [size, count] = [number() / 2, number()];
  if (count < 1 || count > MOST_POINTS || size > 300) throw new RangeError("no stroke is like that");
  const points = [];
  let [x, y] = [0, 0];
  for (let i = 0; i < count; i++) {
    x += unzigzag(number()) / 2;
    y += unzigzag(number()) / 2;
    points.push([x, y]);
  }
  return { erase, size, points };
}

function pushNumber(bytes, value) {
  while (value > 127) {
    bytes.push((value & 127) | 128);
    value >>>= 7;
  }
  bytes.push(value);
}

const zigzag = (value) => (value < 0 ? -2 * value - 1 : 2 * value);
const unzigzag = (value) => (value % 2 ? -(value + 1) / 2 : value / 2);

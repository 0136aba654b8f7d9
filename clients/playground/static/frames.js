// Reads what the app sends: a JSON header, then raw float32 arrays (see frames.py). The arrays are views of the reply's
// own bytes, so the page shows the very floats that the server returned.

// Returns the header, with `arrays` as a Map from names to `{shape, data}`.
export function readFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const arrays = new Map();
  for (const { name, shape } of header.arrays) {
    const size = shape.reduce((product, side) => product * side, 1);
    arrays.set(name, { shape, data: new Float32Array(buffer, at, size) });
    at += 4 * size;
  }
  return { ...header, arrays };
}

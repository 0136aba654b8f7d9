// The arithmetic of one unit, from the served maps and kernels alone: the products and the bias add up to the value that
// the server returned, and the page prints both.

import { patchOf, windowOf } from "./geometry.js";

// `unit` is {channel, row, column}; `source` and `map` give one channel of a layer as {data, width, height}.
// Returns `{groups, sum, bias, total, served}`, a group for each input map: {input, patch, kernel, products, sum}.
export function convolve(layer, unit, source, map) {
  const [, inputs, side] = layer.kernel.shape;
  const box = windowOf(layer, unit.row, unit.column);
  const groups = Array.from({ length: inputs }, (_, input) => {
    const at = (unit.channel * inputs + input) * side * side;
    return multiply(input, patchOf(source(input), box), layer.kernel.data.subarray(at, at + side * side));
  });
  const sum = groups.reduce((total, group) => total + group.sum, 0);
  const bias = layer.bias ? layer.bias.data[unit.channel] : 0;
  return { groups, sum, bias, total: sum + bias, served: servedAt(map, unit) };
}

export function multiply(input, patch, kernel) {
  const products = Array.from(patch, (value, i) => value * kernel[i]); // as doubles: the sum is exact enough to compare
  return { input, patch, kernel, products, sum: products.reduce((total, product) => total + product, 0) };
}

const WAYS_OF_POOLING = [
  { name: "maximum", of: (values) => Math.max(...values) },
  { name: "mean", of: (values) => values.reduce((sum, value) => sum + value, 0) / values.length },
];
const ACTIVATIONS = [
  { name: "ReLU", of: (value) => Math.max(0, value) },
  { name: "tanh", of: Math.tanh },
];

// A model says where it pools, not how: the way that gives the served value is the way it was done.
// Returns `{values, way, activation, pooled, total, served}`; `way` is null if none does.
export function pool(layer, unit, source, map) {
  const values = patchOf(source(unit.channel), windowOf(layer, unit.row, unit.column));
  const served = servedAt(map, unit);
  for (const way of WAYS_OF_POOLING) {
    for (const activation of ACTIVATIONS) {
      const pooled = way.of(values);
      const total = activation.of(pooled);
      if (agree(total, served)) return { values, way: way.name, activation: activation.name, pooled, total, served };
    }
  }
  return { values, way: null, activation: null, pooled: NaN, total: NaN, served };
}

// Whether a sum of doubles and a float32 that was summed in another order are the same number.
export function agree(total, served, scale = Math.max(1, Math.abs(served))) {
  return Math.abs(total - served) <= 1e-5 * scale;
}

function servedAt(map, { row, column }) {
  return map.data[row * map.width + column];
}

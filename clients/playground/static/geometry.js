// Which units a unit looks at: its window in the layer before, and its receptive field on the image, found by walking
// from layer to layer with each one's stride, padding and window. Boxes are {left, top, size} and may reach over the
// edge, where a layer pads with zeros.

// Layers with a feature map, each with `window` (kernel side), `stride`, `padding` and the name of its `source`.
export function layersWithMaps(model) {
  const layers = model.layers.filter((layer) => layer.has_feature_map);
  return layers.map((layer, i) => {
    const kernel = model.arrays.get(`${layer.name}.kernel`) ?? null;
    const bias = model.arrays.get(`${layer.name}.bias`) ?? null;
    const [channels, height, width] = layer.output_shape;
    const window = kernel ? kernel.shape[2] : layer.stride; // pooling without weights: blocks side by side
    return { ...layer, kernel, bias, channels, height, width, window, source: i ? layers[i - 1].name : "input" };
  });
}

export function windowOf(layer, row, column) {
  const corner = (index) => index * layer.stride - layer.padding;
  return { left: corner(column), top: corner(row), size: layer.window };
}

// The window in every layer before, the image included: a Map from the layer's name to a box.
export function fieldsOf(layers, name, row, column) {
  const fields = new Map();
  let box = { left: column, top: row, size: 1 };
  for (let i = layers.findIndex((layer) => layer.name === name); i >= 0; i--) {
    const { stride, padding, window, source } = layers[i];
    box = {
      left: box.left * stride - padding,
      top: box.top * stride - padding,
      size: (box.size - 1) * stride + window,
    };
    fields.set(source, box);
  }
  return fields;
}

// The part of a box that lies on a square image, as {left, top, width, height}, and whether some of it does not.
export function clipped({ left, top, size }, side) {
  const [right, bottom] = [Math.min(left + size, side), Math.min(top + size, side)];
  const [x, y] = [Math.max(left, 0), Math.max(top, 0)];
  const [width, height] = [right - x, bottom - y];
  return { left: x, top: y, width, height, isClipped: width < size || height < size };
}

// A window's values, row by row, zero where it reaches over the edge.
export function patchOf({ data, width, height }, { left, top, size }) {
  const patch = new Float32Array(size * size);
  for (let y = 0, i = 0; y < size; y++) {
    for (let x = 0; x < size; x++, i++) {
      const [column, row] = [left + x, top + y];
      const inside = column >= 0 && column < width && row >= 0 && row < height;
      patch[i] = inside ? data[row * width + column] : 0;
    }
  }
  return patch;
}

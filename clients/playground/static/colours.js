// The colours of values: one hue for positive, one for negative, and the paper's own tone for zero.
//
// They are made in OKLCH, where lightness is as the eye has it: it changes in proportion to the value, so equal steps look
// equal, and positive and negative are as far from zero as each other also in grey print and to the colour-blind.

const LEVELS = 127; // on either side of zero
const HUES = { positive: 40, negative: 252 };
const THEMES = {
  light: { zero: 0.985, full: 0.4, chroma: 0.155 },
  dark: { zero: 0.2, full: 0.86, chroma: 0.135 },
};

// The palette for what the person prefers now.
export function lookNow() {
  return { table: palette(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light") };
}

// Returns a lookup table of [red, green, blue, 255] for levels -127 to 127, as one Uint32 each; the browser knows OKLCH.
function palette(theme) {
  const context = new OffscreenCanvas(2 * LEVELS + 1, 1).getContext("2d", { willReadFrequently: true });
  for (let level = -LEVELS; level <= LEVELS; level++) {
    context.fillStyle = signedColour(level / LEVELS, THEMES[theme]);
    context.fillRect(level + LEVELS, 0, 1, 1);
  }
  return new Uint32Array(context.getImageData(0, 0, 2 * LEVELS + 1, 1).data.buffer);
}

// Paints values onto a canvas of as many pixels; `limit` is the value of full colour.
export function paint(context, values, limit, table) {
  const image = context.createImageData(context.canvas.width, context.canvas.height);
  const out = new Uint32Array(image.data.buffer);
  const scale = limit > 0 ? LEVELS / limit : 0;
  for (let i = 0; i < values.length; i++) {
    const level = Math.round(values[i] * scale);
    out[i] = table[Math.max(-LEVELS, Math.min(LEVELS, level)) + LEVELS];
  }
  context.putImageData(image, 0, 0);
}

// The colour of a value for style sheets, and black or white, whichever reads better on it.
export function cssColours(value, limit, table) {
  const level = limit > 0 ? Math.round((value / limit) * LEVELS) : 0;
  const colour = table[Math.max(-LEVELS, Math.min(LEVELS, level)) + LEVELS];
  const bytes = [colour & 255, (colour >> 8) & 255, (colour >> 16) & 255];
  const [red, green, blue] = bytes.map((byte) => (byte / 255) ** 2.2);
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return { ground: `rgb(${bytes.join(" ")})`, text: luminance > 0.179 ? "#000" : "#fff" };
}

export function largest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

function signedColour(value, { zero, full, chroma }) {
  const share = Math.abs(value);
  const lightness = zero + (full - zero) * share;
  // Least where a tone is nearly white or black: there the screen has no strong colours.
  const strength = chroma * Math.min(1, 1.7 * share) * (full > zero ? 1.15 - 0.45 * share : 1);
  return `oklch(${lightness} ${strength} ${value < 0 ? HUES.negative : HUES.positive})`;
}

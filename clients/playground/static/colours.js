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

// Returns a lookup table of [red, green, blue, 255] for levels -127 to 127, as one Uint32 each.
function palette(theme) {
  const bytes = new Uint8ClampedArray(4 * (2 * LEVELS + 1));
  for (let level = -LEVELS; level <= LEVELS; level++) {
    bytes.set([...signedColour(level / LEVELS, THEMES[theme]), 255], 4 * (level + LEVELS));
  }
  return new Uint32Array(bytes.buffer);
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
  return oklch(lightness, strength, value < 0 ? HUES.negative : HUES.positive);
}

// Björn Ottosson's OKLab, to sRGB bytes.
function oklch(lightness, chroma, hue) {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((linear) => 255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * Math.max(0, linear) ** (1 / 2.4) - 0.055));
}

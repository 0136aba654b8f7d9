// What a person may take away: a picture of the view, and every value as JSON.

const WIDTH = 1200;
const GAP = 10;

// Returns a PNG of the drawing, what the model saw, the probabilities and all maps, in the page's colours.
export function pictureOf({ sheet, seen, probabilities, verdict, views }) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const canvas = new OffscreenCanvas(WIDTH, 330 + views.reduce((sum, view) => sum + heightOf(view), 0));
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.fillStyle = colour("--page");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = colour("--sheet");
  context.fillRect(40, 60, 240, 240);
  context.drawImage(sheet, 40, 60, 240, 240);
  context.drawImage(seen, 300, 60, 240, 240);
  context.fillStyle = colour("--ink");
  context.font = "600 20px system-ui, sans-serif";
  context.fillText(`LeNet Lens: ${verdict}`, 40, 40);
  drawBars(context, probabilities, colour);
  let top = 330;
  for (const view of views) top = drawLayer(context, view, top, colour);
  return canvas.convertToBlob({ type: "image/png" });
}

function drawBars(context, probabilities, colour) {
  context.font = "14px system-ui, sans-serif";
  const best = Math.max(...probabilities);
  probabilities.forEach((probability, digit) => {
    const y = 74 + 24 * digit;
    context.fillStyle = colour("--ink");
    context.fillText(String(digit), 580, y);
    context.fillText(`${(100 * probability).toFixed(1)} %`, 1100, y);
    context.fillStyle = probability === best ? colour("--accent") : colour("--faint");
    context.fillRect(604, y - 12, Math.max(1, 480 * probability), 14);
  });
}

function drawLayer(context, view, top, colour) {
  context.fillStyle = colour("--ink");
  context.font = "600 15px system-ui, sans-serif";
  context.fillText(view.layer.name, 40, top + 16);
  const canvases = view.canvases();
  const side = sideOf(canvases.length);
  canvases.forEach((map, i) => {
    const [column, row] = [i % columnsOf(canvases.length), Math.floor(i / columnsOf(canvases.length))];
    const [width, height] = view.isStrip ? [WIDTH - 80, ((WIDTH - 80) * map.height) / map.width] : [side, side];
    context.drawImage(map, 40 + column * (side + GAP), top + 28 + row * (side + GAP), width, height);
  });
  return top + heightOf(view);
}

const columnsOf = (maps) => Math.min(8, maps);
const sideOf = (maps) => (WIDTH - 80 + GAP) / columnsOf(maps) - GAP;

function heightOf(view) {
  const maps = view.canvases();
  if (view.isStrip) return 40 + ((WIDTH - 80) * maps[0].height) / maps[0].width + GAP;
  return 40 + Math.ceil(maps.length / columnsOf(maps.length)) * (sideOf(maps.length) + GAP);
}

// Returns JSON whose numbers are the served float32 exactly.
export function valuesOf(model, answer, pixels) {
  const arrays = [...answer.arrays].map(([name, { shape, data }]) => [name, { shape, values: Array.from(data) }]);
  const { name, provider, unfamiliarity_threshold } = model;
  const about = { model: name, version: answer.version, provider, unfamiliarity_threshold };
  return new Blob([JSON.stringify({ ...about, pixels: Array.from(pixels), ...Object.fromEntries(arrays) })], {
    type: "application/json",
  });
}

export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

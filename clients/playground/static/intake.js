// Pictures from elsewhere: opened, dropped or pasted. A PNG or JPEG goes to the server as it is, whose way of reading it
// is the one that counts; what it would not take (another format, too large) the browser first makes a smaller PNG.

const TAKEN = ["image/png", "image/jpeg"];
const LONGEST_PX = 1024; // more than the server itself would look at

// `take(file)` gets each picture, as a File or Blob.
export function listenForPictures(input, take) {
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // so that the same file can be opened again
  });
  addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files][0];
    if (file) take(file);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (file) take(file);
  });
}

// Returns a Blob that the server takes; throws an Error, for the person, if the file is no picture.
export async function acceptable(file, limits) {
  const name = file.name ? `“${file.name}”` : "What came";
  if (!file.size) throw new Error(`${name} is empty. Expected a picture of a digit.`);
  if (file.type && !file.type.startsWith("image/")) {
    throw new Error(`${name} is not a picture (${file.type}). Expected a PNG or JPEG of one digit.`);
  }
  const roomForRequest = limits.max_request_bytes - 4096;
  if (TAKEN.includes(file.type) && file.size <= roomForRequest && !(await isTooWide(file, limits))) return file;
  return smaller(file, name);
}

async function isTooWide(file, limits) {
  const header = new DataView(await file.slice(0, 24).arrayBuffer());
  if (file.type !== "image/png" || header.byteLength < 24) return false; // of a JPEG the server reads a part
  return header.getUint32(16) * header.getUint32(20) > limits.max_image_pixels;
}

async function smaller(file, name) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new Error(`${name} cannot be read as a picture. Expected a PNG or JPEG of one digit.`);
  }
  const scale = Math.min(1, LONGEST_PX / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.max(1, image.width * scale), Math.max(1, image.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  image.close();
  return canvas.convertToBlob({ type: "image/png" });
}

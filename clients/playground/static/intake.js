// Pictures from elsewhere: opened, dropped or pasted. A PNG or JPEG goes to the server as it is, whose way of reading it
// is the one that counts; what it would not take (another format, too large) the browser first makes a smaller PNG.

const TAKEN = ["image/png", "image/jpeg"];
const LONGEST_PX = 1024; // more than the server itself would look at

// `take(file)` gets each picture, as a File or Blob.
export function listenForPictures(input, take) {
  const give = (files) => {
    const all = [...files];
    const file = all.find((each) => each.type.startsWith("image/")) ?? all[0];
    if (file) take(file);
  };
  input.addEventListener("change", () => {
    give(input.files);
    input.value = ""; // so that the same file can be opened again
  });
  addEventListener("paste", (event) => {
    give(event.clipboardData.files);
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    give(event.dataTransfer.files);
  });
}

// Returns a Blob that the server takes; throws an Error, for the person, if the file is no picture.
export async function acceptable(file, limits) {
  const name = file.name ? `“${shortened(file.name)}”` : "What came";
  if (!file.size) throw new Error(`${name} is empty. Expected a picture of a digit.`);
  if (file.type && !file.type.startsWith("image/")) {
    throw new Error(`${name} is not a picture (${file.type}). Expected a PNG or JPEG of one digit.`);
  }
  const image = await decoded(file, name);
  const roomForRequest = limits.max_request_bytes - 4096;
  const fits = file.size <= roomForRequest && image.width * image.height <= limits.max_image_pixels;
  const sent = TAKEN.includes(file.type) && fits ? file : await smaller(image);
  image.close();
  return sent;
}

async function decoded(file, name) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error(`${name} cannot be read as a picture. Expected a PNG or JPEG of one digit.`);
  }
}

function smaller(image) {
  const scale = Math.min(1, LONGEST_PX / Math.max(image.width, image.height));
  const canvas = new OffscreenCanvas(Math.max(1, image.width * scale), Math.max(1, image.height * scale));
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.convertToBlob({ type: "image/png" });
}

function shortened(name) {
  return name.length > 40 ? `${name.slice(0, 39)}…` : name;
}

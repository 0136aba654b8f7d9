// The buttons that keep something: a link, a picture, the values.

import { byId } from "./elements.js";
import { download, pictureOf, valuesOf } from "./export.js";
import { linkOf } from "./link.js";

export class Keep {
  constructor(now) {
    byId("copy-link").addEventListener("click", () => copyLink(now()));
    byId("save-picture").addEventListener("click", () => savePicture(now()));
    byId("save-values").addEventListener("click", () => saveValues(now()));
  }
}

async function copyLink({ document }) {
  const link = linkOf(document);
  try {
    await navigator.clipboard.writeText(new URL(link, location.href).href);
    say("Link copied.");
  } catch {
    history.replaceState(null, "", link);
    say("The link is in the address bar.");
  }
}

async function savePicture({ answer, views }) {
  if (!answer) return say("Nothing has been read yet.");
  const verdict = byId("verdict-digit").textContent + ", " + byId("verdict-text").textContent;
  const probabilities = [...answer.frame.arrays.get("probabilities").data];
  const parts = { sheet: byId("sheet"), seen: byId("seen"), probabilities, verdict, views };
  download(await pictureOf(parts), "lenet-lens.png");
  return say("Picture saved.");
}

function saveValues({ answer, model }) {
  if (!answer) return say("Nothing has been read yet.");
  download(valuesOf(model, answer.frame, answer.pixels), "lenet-lens.json");
  return say("Values saved.");
}

function say(text) {
  byId("kept").textContent = text;
}

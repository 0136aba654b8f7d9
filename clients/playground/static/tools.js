// The buttons and keys around the sheet.

import { SHEET, isEmpty } from "./drawing.js";
import { byId } from "./elements.js";

export function listenToTools(page) {
  const click = (id, act) => byId(id).addEventListener("click", act);
  const choose = (erase) => {
    page.easel.tool.erase = erase;
    byId("pen").setAttribute("aria-pressed", String(!erase));
    byId("eraser").setAttribute("aria-pressed", String(erase));
  };
  click("pen", () => choose(false));
  click("eraser", () => choose(true));
  click("undo", () => page.undo());
  click("redo", () => page.redo());
  click("clear", () => page.clear());
  byId("brush").addEventListener("input", (event) => {
    page.easel.tool.size = (event.target.valueAsNumber / 100) * SHEET;
    byId("brush-value").textContent = `${event.target.value} %`;
  });
  addEventListener("keydown", (event) => shortcut(page, event, choose));
}

export function showHistory(history, document) {
  byId("undo").disabled = !history.canUndo;
  byId("redo").disabled = !history.canRedo;
  byId("clear").disabled = isEmpty(document);
  byId("sheet-hint").hidden = !isEmpty(document);
}

function shortcut(page, event, choose) {
  const onSheet = event.target === byId("sheet");
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) page.redo();
    else page.undo();
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") {
    event.preventDefault();
    page.redo();
  } else if (onSheet && (event.key === "Delete" || event.key === "Backspace")) page.clear();
  else if (onSheet && event.key === "e") choose(true);
  else if (onSheet && event.key === "b") choose(false);
}

// The buttons and keys around the sheet.

import { SHEET, isEmpty } from "./drawing.js";
import { byId } from "./elements.js";

export function listenToTools(desk) {
  const click = (id, act) => byId(id).addEventListener("click", act);
  const choose = (erase) => {
    desk.easel.tool.erase = erase;
    byId("pen").setAttribute("aria-pressed", String(!erase));
    byId("eraser").setAttribute("aria-pressed", String(erase));
  };
  click("pen", () => choose(false));
  click("eraser", () => choose(true));
  click("undo", () => desk.undo());
  click("redo", () => desk.redo());
  click("clear", () => desk.clear());
  byId("brush").addEventListener("input", (event) => {
    desk.easel.tool.size = (event.target.valueAsNumber / 100) * SHEET;
    byId("brush-value").textContent = `${event.target.value} %`;
  });
  addEventListener("keydown", (event) => shortcut(desk, event, choose));
}

export function showHistory(history, document) {
  byId("undo").disabled = !history.canUndo;
  byId("redo").disabled = !history.canRedo;
  byId("clear").disabled = isEmpty(document);
}

function shortcut(desk, event, choose) {
  const onSheet = event.target === byId("sheet");
  if (event.target.type === "number") return; // it has an undo of its own
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
    event.preventDefault();
    if (event.shiftKey) desk.redo();
    else desk.undo();
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") {
    event.preventDefault();
    desk.redo();
  } else if (onSheet && (event.key === "Delete" || event.key === "Backspace")) desk.clear();
  else if (onSheet && event.key === "e") choose(true);
  else if (onSheet && event.key === "b") choose(false);
}

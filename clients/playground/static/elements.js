// Makes elements without a template language: element("p", {class: "quiet"}, "text", child).

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function byId(id) {
  return document.getElementById(id);
}

// A number with a true minus sign, as wide as its neighbours.
export function signed(value, digits = 2) {
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

// Changes a text only if it differs: the same text again would cost a layout, and a live region would speak it.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Building elements. Text always goes in as text nodes, so nothing that a video says or is called can become markup.

/**
 * Makes an element.
 *
 * @param {string} tag
 * @param {Object} props  `class`, `data` (dataset entries), `on` (listeners); other names are set as properties
 *     when the element has them, else as attributes; null, undefined and false leave a property out.
 * @param {...(Node|string|null|undefined|false)} children
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name in node && !name.startsWith("aria")) node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/** An icon out of the sprite in index.html; decoration only, so hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Sets the text only when it differs: a live region or a selection is not disturbed for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Tells screen readers something that sighted people see happen. */
export function announce(text) {
  byId("live").textContent = text;
}

/** A boxed message with an optional action: {text, kind: "info"|"warn"|"error", action: {label, run}, or a link in its place}. */
export function notice({ text, kind = "info", action = null, link = null }) {
  return el(
    "div",
    { class: `notice ${kind}` },
    icon(kind === "info" ? "search" : "warn"),
    el("p", {}, text),
    action && el("button", { type: "button", class: "button plain", on: { click: action.run } }, action.label),
    link,
  );
}

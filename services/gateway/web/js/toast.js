// What just happened, in a corner for a while, with the way back where there is one.

import { byId, el, icon } from "./dom.js";

const LINGER_MS = 5000;

/**
 * @param {string} text
 * @param {{action?: {label: string, run: () => void}, seconds?: number, onClose?: () => void}} more
 * @returns {{close: () => void}}
 */
export function toast(text, { action = null, seconds = LINGER_MS / 1000, onClose = () => {} } = {}) {
  const node = el(
    "div",
    { class: "toast" },
    el("p", {}, text),
    action && el("button", { type: "button", class: "toast-action", on: { click: () => (close(), action.run()) } }, action.label),
    el("button", { type: "button", class: "quiet round", "aria-label": "Dismiss", on: { click: () => close() } }, icon("close")),
  );
  let timer = 0;
  let left = seconds * 1000;
  let since = 0;
  let closed = false;

  function run() {
    clearTimeout(timer);
    since = Date.now();
    timer = setTimeout(close, left);
  }

  function hold() {
    clearTimeout(timer);
    left = Math.max(1500, left - (Date.now() - since));
  }

  function close() {
    if (closed) return;
    closed = true;
    clearTimeout(timer);
    if (node.contains(document.activeElement)) byId("column").focus({ preventScroll: true });
    node.remove();
    onClose();
  }

  // Who is about to click must not find it gone.
  node.addEventListener("pointerenter", hold);
  node.addEventListener("pointerleave", run);
  node.addEventListener("focusin", hold);
  node.addEventListener("focusout", run);
  byId("toasts").append(node);
  run();
  return { close };
}

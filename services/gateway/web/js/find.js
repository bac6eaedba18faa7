// Finding words in the transcript that is open, without asking the server and without touching its elements.

import { el, icon, setText } from "./dom.js";

const ALL = "find";
const ONE = "find-now";

/** The ranges of a text inside an element, whatever elements it is cut into; letters count alike, large or small. */
function rangesIn(node, wanted) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const pieces = [];
  let text = "";
  while (walker.nextNode()) {
    pieces.push({ node: walker.currentNode, from: text.length });
    text += walker.currentNode.data;
  }
  const place = (offset, last) => {
    const piece = pieces.findLast(({ from }) => (last ? from < offset : from <= offset));
    return [piece.node, Math.min(offset - piece.from, piece.node.data.length)];
  };
  const folded = text.toLowerCase();
  const found = [];
  // A letter whose small form is longer would shift what follows; then the text is compared as it is written.
  const searched = folded.length === text.length ? folded : text;
  for (let at = searched.indexOf(wanted); at >= 0; at = searched.indexOf(wanted, at + wanted.length)) {
    const range = new Range();
    range.setStart(...place(at, false));
    range.setEnd(...place(at + wanted.length, true));
    found.push(range);
  }
  return found;
}

/**
 * @param {Object} where
 * @param {() => HTMLElement[]} where.lines
 * @param {(line: HTMLElement) => HTMLElement} where.textOf
 * @param {(line: HTMLElement) => void} where.onFound  brings a line into view
 */
export function createFind({ lines, textOf, onFound }) {
  const field = el("input", { type: "search", class: "find-field", placeholder: "Find in transcript", "aria-label": "Find in transcript", autocomplete: "off", spellcheck: false, enterKeyHint: "search" });
  const count = el("span", { class: "find-count facts", role: "status" });
  const step = (by, label, name) => el("button", { type: "button", class: `quiet round ${name}`, "aria-label": label, on: { click: () => go(by) } }, icon("down"));
  const steps = el("span", { class: "find-steps", hidden: true }, count, step(-1, "The one before", "up"), step(1, "The next one", "down"));
  const node = el("div", { class: "find", role: "search" }, icon("search"), field, steps);
  let hits = [];
  let at = -1;

  function paint() {
    const { highlights } = CSS;
    lines().forEach((line) => line.removeAttribute("data-match"));
    if (!highlights) {
      for (const { line } of hits) line.setAttribute("data-match", "");
      return;
    }
    highlights.delete(ALL);
    highlights.delete(ONE);
    if (!hits.length) return;
    highlights.set(ALL, new Highlight(...hits.map(({ range }) => range)));
    const one = new Highlight(hits[at].range);
    one.priority = 1;
    highlights.set(ONE, one);
  }

  function look() {
    const wanted = field.value.trim().toLowerCase();
    hits = wanted ? lines().flatMap((line) => rangesIn(textOf(line), wanted).map((range) => ({ line, range }))) : [];
    at = Math.min(Math.max(at, 0), hits.length - 1);
    steps.hidden = !wanted;
    paint();
    setText(count, !wanted ? "" : hits.length ? `${at + 1} of ${hits.length}` : "Not in it");
  }

  function go(by) {
    if (!hits.length) return;
    at = (at + by + hits.length) % hits.length;
    paint();
    setText(count, `${at + 1} of ${hits.length}`);
    onFound(hits[at].line);
  }

  field.addEventListener("input", () => {
    at = 0;
    look();
    if (hits.length) onFound(hits[0].line);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      go(event.shiftKey ? -1 : 1);
    } else if (event.key === "Escape" && field.value) {
      event.preventDefault();
      event.stopPropagation();
      clear();
    }
  });

  function clear() {
    field.value = "";
    at = -1;
    look();
  }

  return { node, clear, /** Looks again, as the lines are others now. */ renew: look };
}

// The transcript beside the player: follows the words as they are spoken, and jumps to what is clicked.

import { el, icon } from "./dom.js";
import { createFind } from "./find.js";
import { clock, spokenClock } from "./format.js";

/** Place of the last of `starts` that is not after `seconds`; -1 before the first. */
function placeOf(starts, seconds) {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= seconds + 0.05) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * A segment's text with its words as elements of their own.
 *
 * The text is what is shown: it may have been corrected, and then holds words that nobody timed.
 *
 * @returns {{nodes: (Node|string)[], starts: number[], words: HTMLElement[]}}
 */
function timed({ text, words = [] }) {
  const nodes = [];
  const starts = [];
  const spans = [];
  let at = 0;
  for (const word of words) {
    const said = word.text.trim();
    const from = said ? text.indexOf(said, at) : -1;
    if (from < 0) continue;
    if (from > at) nodes.push(text.slice(at, from));
    const span = el("span", { class: "word", data: { start: String(word.start) } }, said);
    nodes.push(span);
    spans.push(span);
    starts.push(word.start);
    at = from + said.length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return { nodes, starts, words: spans };
}

/**
 * @param {(seconds: number) => void} onJump
 */
export function createTranscript(onJump) {
  const list = el("ol", { class: "lines" });
  const follow = el("button", { type: "button", class: "button follow", hidden: true, on: { click: () => resume() } }, icon("down"), el("span", {}, "Back to now"));
  const body = el("div", { class: "lines-box" }, list);
  const node = el("div", { class: "transcript-body" }, body, follow);
  let starts = [];
  let lines = [];
  let spoken = [];
  let now = -1;
  let word = null;
  let following = true;

  // Someone who scrolls is reading: leave the place alone until they ask to be taken back.
  for (const gesture of ["wheel", "touchmove"]) body.addEventListener(gesture, () => pause(), { passive: true });

  function pause() {
    if (!following || now < 0) return;
    following = false;
    follow.hidden = false;
  }

  function resume() {
    following = true;
    follow.hidden = true;
    reveal(lines[now]);
  }

  function reveal(line) {
    if (!line) return;
    const smooth = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const top = line.offsetTop - body.clientHeight * 0.3;
    const far = Math.abs(body.scrollTop - top) > body.clientHeight * 2;
    body.scrollTo({ top, behavior: smooth && !far ? "smooth" : "instant" });
  }

  const find = createFind({
    lines: () => lines,
    textOf: (line) => line.querySelector(".line-words"),
    onFound: (line) => {
      pause();
      reveal(line);
    },
  });

  function draw(segment, index) {
    const { nodes, ...timing } = timed({ ...segment, text: segment.text.trim() });
    spoken[index] = timing;
    return el(
      "li",
      segment.suspect ? { class: "suspect", title: "Likely nobody said this" } : {},
      el(
        "button",
        { type: "button", class: "line", tabIndex: index === 0 ? 0 : -1, data: { index: String(index) } },
        el("span", { class: "line-time", "aria-hidden": "true" }, clock(segment.start)),
        el("span", { class: "line-text", dir: "auto" }, ...(segment.speaker ? [el("b", { class: "line-speaker" }, `${segment.speaker}: `)] : []), el("span", { class: "line-words" }, ...nodes)),
        el("span", { class: "hidden" }, `, at ${spokenClock(segment.start)}`),
      ),
    );
  }

  list.addEventListener("click", (event) => {
    const line = event.target.closest(".line");
    if (!line) return;
    following = true;
    follow.hidden = true;
    // Enter on a line is a click without a word under it.
    const chosen = event.detail > 0 ? event.target.closest(".word") : null;
    onJump(chosen ? Number(chosen.dataset.start) : starts[Number(line.dataset.index)]);
  });

  // One Tab stop for the whole list, arrows within it: a long talk has thousands of lines.
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    const line = event.target.closest(".line");
    if (!step || !line) return;
    event.preventDefault();
    pause();
    const to = Math.min(lines.length - 1, Math.max(0, Number(line.dataset.index) + step));
    focusable(to);
    lines[to].firstElementChild.focus();
  });

  function focusable(index) {
    list.querySelector('.line[tabindex="0"]')?.setAttribute("tabindex", "-1");
    lines[index]?.firstElementChild.setAttribute("tabindex", "0");
  }

  function speak(seconds) {
    const timing = spoken[now];
    const next = timing?.words[placeOf(timing.starts, seconds)] ?? null;
    if (next === word) return;
    word?.removeAttribute("data-now");
    next?.setAttribute("data-now", "");
    word = next;
  }

  return {
    node,
    find: find.node,
    /**
     * @param {{start: number, end: number, text: string, speaker: string, words: Object[]}[]} segments  in order of time, seconds
     * @param {string} language
     */
    show(segments, language) {
      starts = segments.map((segment) => segment.start);
      spoken = [];
      lines = segments.map(draw);
      list.replaceChildren(...lines);
      list.lang = language ?? "";
      now = -1;
      word = null;
      find.renew();
    },
    clear() {
      this.show([], "");
      find.clear();
      following = true;
      follow.hidden = true;
    },
    /** Marks the lines that a search found. */
    mark(ranges) {
      lines.forEach((line, index) => {
        const next = starts[index + 1] ?? Infinity;
        const found = ranges.some(({ start, end }) => starts[index] < end - 0.05 && next > start + 0.05);
        line.toggleAttribute("data-found", found);
      });
    },
    /** Says where the player is, in seconds. */
    at(seconds) {
      const index = placeOf(starts, seconds);
      if (index !== now) {
        lines[now]?.firstElementChild.removeAttribute("aria-current");
        lines[index]?.firstElementChild.setAttribute("aria-current", "true");
        now = index;
        if (!list.contains(document.activeElement)) focusable(Math.max(0, index));
        if (following) reveal(lines[now]);
      }
      speak(seconds);
    },
    followAgain: () => {
      following = true;
      follow.hidden = true;
    },
  };
}

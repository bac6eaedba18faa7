// The transcript beside the player: follows what is spoken, and jumps to what is clicked.

import { el, icon } from "./dom.js";
import { clock, spokenClock } from "./format.js";

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
  let now = -1;
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
    reveal();
  }

  function reveal() {
    const line = lines[now];
    if (!line) return;
    const smooth = !window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const top = line.offsetTop - body.clientHeight * 0.3;
    const far = Math.abs(body.scrollTop - top) > body.clientHeight * 2;
    body.scrollTo({ top, behavior: smooth && !far ? "smooth" : "instant" });
  }

  function draw(segment, index) {
    const text = segment.text.trim();
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "line", tabIndex: index === 0 ? 0 : -1, data: { index: String(index) } },
        el("span", { class: "line-time", "aria-hidden": "true" }, clock(segment.start)),
        el("span", { class: "line-text", dir: "auto" }, ...(segment.speaker ? [el("b", { class: "line-speaker" }, `${segment.speaker}: `)] : []), text),
        el("span", { class: "hidden" }, `, at ${spokenClock(segment.start)}`),
      ),
    );
  }

  list.addEventListener("click", (event) => {
    const line = event.target.closest(".line");
    if (!line) return;
    following = true;
    follow.hidden = true;
    onJump(starts[Number(line.dataset.index)]);
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

  return {
    node,
    /**
     * @param {{start: number, end: number, text: string, speaker: string}[]} segments  in order of time, seconds
     * @param {string} language
     */
    show(segments, language) {
      starts = segments.map((segment) => segment.start);
      lines = segments.map(draw);
      list.replaceChildren(...lines);
      list.lang = language ?? "";
      now = -1;
    },
    clear() {
      this.show([], "");
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
      let low = 0;
      let high = starts.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (starts[middle] <= seconds + 0.05) low = middle + 1;
        else high = middle;
      }
      const index = low - 1;
      if (index === now) return;
      lines[now]?.firstElementChild.removeAttribute("aria-current");
      lines[index]?.firstElementChild.setAttribute("aria-current", "true");
      now = index;
      if (!list.contains(document.activeElement)) focusable(Math.max(0, index));
      if (following) reveal();
    },
    followAgain: () => {
      following = true;
      follow.hidden = true;
    },
  };
}

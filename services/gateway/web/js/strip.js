// A video's whole length as a line, with a mark at every moment that was found in it.

import { el } from "./dom.js";
import { clock, plural } from "./format.js";
import { peekAt, spoken } from "./peek.js";

/**
 * @param {Object} what
 * @param {Object[]} what.moments  best first
 * @param {number} what.duration  seconds; 0 while unknown, then the last moment ends it
 * @param {(moment: Object) => string} what.hrefOf
 * @param {(moment: Object) => void} what.onOpen  a mark was chosen
 * @param {(listener: () => void) => (event: Event) => void} what.follow  makes the listener of a link
 * @returns {{node: HTMLElement, at: (seconds: number) => void}}  `at` says where the player is
 */
export function createStrip({ moments, duration, hrefOf, onOpen, follow }) {
  const end = Math.max(duration, ...moments.map((moment) => moment.end_time)) || 1;
  const ordered = [...moments].sort((a, b) => a.match_time - b.match_time);
  const now = el("span", { class: "strip-now", hidden: true });

  const ticks = ordered.map((moment) => {
    const best = moment === moments[0];
    const tick = el("a", {
      class: best ? "tick best" : "tick",
      href: hrefOf(moment),
      tabIndex: best ? 0 : -1,
      "aria-label": spoken(moment),
      on: { click: follow(() => onOpen(moment)) },
    });
    tick.style.left = `${(moment.match_time / end) * 100}%`;
    peekAt(tick, moment);
    return tick;
  });

  const list = el("ol", { class: "ticks" }, ...ticks.map((tick) => el("li", {}, tick)));
  // One Tab stop for the strip, arrows along it.
  list.addEventListener("keydown", (event) => {
    const at = ticks.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: ticks.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    const next = ticks[Math.max(0, Math.min(ticks.length - 1, to))];
    ticks.forEach((tick) => (tick.tabIndex = tick === next ? 0 : -1));
    next.focus();
  });

  const track = el("div", { class: "strip-track" }, now, list);
  const node = el(
    "div",
    { class: "strip", role: "group", "aria-label": `${plural(moments.length, "match", "matches")} in ${clock(end)}` },
    track,
    el("span", { class: "strip-end", "aria-hidden": "true" }, clock(end)),
  );
  return {
    node,
    at(seconds) {
      now.hidden = false;
      now.style.width = `${Math.min(100, (seconds / end) * 100)}%`;
    },
  };
}

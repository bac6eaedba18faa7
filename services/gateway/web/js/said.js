// What was said, with the words that matched marked.

import { el } from "./dom.js";
import { excerpt, runs } from "./format.js";

/** From the sentence on that is said where the moment is played; without one it is played from the start of its text. */
const shownOf = (moment, length) => excerpt(moment.text, moment.highlights, moment.sentence?.start ?? 0, length);

/** What `marked` shows, without marks: for a name that is read out. */
export const said = (moment, length) => shownOf(moment, length).text;

/**
 * @param {{text: string, highlights: {start: number, end: number}[], sentence: {start: number, end: number}|null}} moment
 * @param {number} length  code points, about
 * @returns {(Node|string)[]}
 */
export function marked(moment, length = 260) {
  const shown = shownOf(moment, length);
  return runs(shown.text, shown.ranges).map((run) => (run.marked ? el("mark", {}, run.text) : run.text));
}

/** The words of a moment that matched, each once, as they are written there. */
export function matchedWords(moment) {
  const points = Array.from(moment.text);
  const words = moment.highlights.map(({ start, end }) => points.slice(start, end).join(""));
  return [...new Map(words.map((word) => [word.toLocaleLowerCase(), word])).values()];
}

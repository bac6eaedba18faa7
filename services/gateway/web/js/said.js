// What was said, with the words that matched marked.

import { el } from "./dom.js";
import { excerpt, runs } from "./format.js";

/** Where in a moment's text, as a code point, the sentence begins that matches best; from its time where no word tells. */
function focusOf(moment) {
  if (moment.highlights.length) return moment.highlights[0].start;
  const span = moment.end_time - moment.start_time;
  const into = span > 0 ? (moment.match_time - moment.start_time) / span : 0;
  return Math.floor(into * Array.from(moment.text).length);
}

/**
 * @param {{text: string, highlights: {start: number, end: number}[], start_time: number, end_time: number, match_time: number}} moment
 * @param {number} length  code points, about
 * @returns {(Node|string)[]}
 */
export function marked(moment, length = 260) {
  const shown = excerpt(moment.text, moment.highlights, focusOf(moment), length);
  return runs(shown.text, shown.ranges).map((run) => (run.marked ? el("mark", {}, run.text) : run.text));
}

/** The words of a moment that matched, each once, as they are written there. */
export function matchedWords(moment) {
  const points = Array.from(moment.text);
  const words = moment.highlights.map(({ start, end }) => points.slice(start, end).join(""));
  return [...new Map(words.map((word) => [word.toLocaleLowerCase(), word])).values()];
}

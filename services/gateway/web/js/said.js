// What was said, with the words that matched marked.

import { el } from "./dom.js";
import { excerpt, runs } from "./format.js";

const SENTENCE = /[.!?…。！？]["'”’)\]]*\s+|[。！？]/gu;
/** How much nearer, as a share of the text, a marked word makes a sentence. */
const MARK_WEIGHT = 0.03;

/** Where sentences begin in a text, as code points. */
function sentenceStarts(text) {
  const starts = [0];
  for (const { index, 0: end } of text.matchAll(SENTENCE)) starts.push(Array.from(text.slice(0, index + end.length)).length);
  return starts;
}

/**
 * Where in a moment's text, as a code point, that begins at which it is to be played.
 *
 * A moment has the time of its best sentence and no place for it: speech is even enough that the sentence nearest to the
 * time's share of the text is the one, and words that match speak for a sentence.
 */
function focusOf({ text, highlights, start_time: start, end_time: end, match_time: at }) {
  const length = Array.from(text).length;
  const share = end > start ? Math.min(1, Math.max(0, (at - start) / (end - start))) : 0;
  const starts = sentenceStarts(text);
  const costs = starts.map((from, index) => {
    const to = starts[index + 1] ?? length;
    const marks = highlights.filter((mark) => mark.start >= from && mark.start < to).length;
    return Math.abs(from / length - share) - MARK_WEIGHT * Math.min(3, marks);
  });
  return starts[costs.indexOf(Math.min(...costs))];
}

const shownOf = (moment, length) => excerpt(moment.text, moment.highlights, focusOf(moment), length);

/** What `marked` shows, without marks: for a name that is read out. */
export const said = (moment, length) => shownOf(moment, length).text;

/**
 * @param {{text: string, highlights: {start: number, end: number}[], start_time: number, end_time: number, match_time: number}} moment
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

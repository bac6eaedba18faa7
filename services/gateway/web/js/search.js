// Asking: waits for a pause in the typing, drops answers that came too late, pages on.

import * as api from "./api.js";

/**
 * @param {Object} handlers
 * @param {() => void} handlers.onClear  nothing is asked any more
 * @param {() => void} handlers.onAsk  a question is on its way
 * @param {(answer: Object, further: boolean) => void} handlers.onAnswer  `further`: a next page, to be added
 * @param {(error: Error, retry: () => void) => void} handlers.onError
 */
export function createSearch({ onClear, onAsk, onAnswer, onError }) {
  let asked = { q: "" };
  let question = "";
  let running = null;
  let cursor = null;

  async function run(further) {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    onAsk();
    try {
      const answer = await api.search({ ...asked, cursor: further ? cursor : "" }, mine.signal);
      if (mine.signal.aborted) return;
      cursor = answer.next_cursor;
      onAnswer(answer, further);
    } catch (error) {
      if (mine.signal.aborted) return;
      onError(error, () => run(further));
    }
  }

  return {
    /** Asks unless this very question was asked last. */
    ask({ q, mode, filters }) {
      const next = { q: q.trim(), mode, filters };
      const written = next.q && JSON.stringify(next);
      if (written === question) return;
      question = written;
      asked = next;
      if (next.q) return void run(false);
      running?.abort();
      onClear();
    },
    again: () => run(false),
    more: () => run(true),
  };
}

/** Calls `onText` when the typing pauses, at once on Enter, never in the middle of an input method's composition. */
export function watchTyping(form, input, onText, pauseMs = 220) {
  let timer = 0;
  const now = () => {
    clearTimeout(timer);
    onText(input.value);
  };
  input.addEventListener("input", (event) => {
    clearTimeout(timer);
    if (event.isComposing) return;
    if (input.value.trim()) timer = setTimeout(now, pauseMs);
    else now();
  });
  input.addEventListener("compositionend", () => {
    clearTimeout(timer);
    timer = setTimeout(now, pauseMs);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    now();
  });
}

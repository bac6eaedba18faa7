// Drawing an answer: hits, further moments, and the state of the answer when it is partial or empty.

import { byId, el, icon, notice, setText } from "./dom.js";
import { clock, excerpt, plural, runs, spokenClock } from "./format.js";
import * as route from "./route.js";
import * as store from "./store.js";

const LEGS = {
  semantic: { label: "meaning", what: "by meaning" },
  keyword: { label: "exact words", what: "by exact words" },
};

/**
 * @param {Object} handlers
 * @param {(hit: Object, moment: Object) => void} handlers.onOpen  a moment was chosen; `hit` holds all moments of its video
 * @param {() => void} handlers.onMore  the next page is wanted
 * @param {() => void} handlers.onAgain  the same question is to be asked again
 * @param {(mode: string) => void} handlers.onMode
 */
export function createResults({ onOpen, onMore, onAgain, onMode }) {
  const list = byId("hits");
  let hits = [];
  let current = null;

  function link(hit, moment, props, ...children) {
    const { q, mode } = route.read();
    const place = { videoId: moment.video_id, t: moment.match_time, q, mode };
    const follow = (event) => {
      if (!route.isPlainClick(event)) return;
      event.preventDefault();
      onOpen(hit, moment);
    };
    return el("a", { ...props, href: route.href(place), on: { click: follow } }, ...children);
  }

  function leg(name, score) {
    if (!score) return null;
    const { label, what } = LEGS[name];
    const why = `Number ${score.rank} ${what}, score ${score.score.toFixed(2)}`;
    return el("li", { class: `leg ${name}`, title: why }, label, el("span", { class: "hidden" }, ` (${why})`));
  }

  function moments(hit) {
    const others = hit.more ?? [];
    if (!others.length) return null;
    const chips = others.map((moment) =>
      el(
        "li",
        {},
        link(hit, moment, { class: "chip", title: moment.text, "aria-label": `${clock(moment.match_time)}, also at ${spokenClock(moment.match_time)}` }, clock(moment.match_time)),
      ),
    );
    return el("div", { class: "moments" }, el("span", { class: "moments-label" }, "Also at"), el("ul", { class: "chips" }, ...chips));
  }

  function draw(hit) {
    const span = hit.end_time - hit.start_time;
    const length = Array.from(hit.text).length;
    const into = span > 0 ? (hit.match_time - hit.start_time) / span : 0;
    const focus = hit.highlights.length ? hit.highlights[0].start : Math.floor(into * length);
    const shown = excerpt(hit.text, hit.highlights, focus);
    const text = runs(shown.text, shown.ranges).map((run) => (run.marked ? el("mark", {}, run.text) : run.text));
    return el(
      "li",
      { class: "hit", data: { videoId: hit.video_id } },
      el(
        "article",
        {},
        el("h3", {}, link(hit, hit, { class: "cover", "aria-label": `${hit.title}, play from ${spokenClock(hit.match_time)}` }, hit.title)),
        el("span", { class: "badge", "aria-hidden": "true" }, icon("play"), clock(hit.match_time)),
        el("p", { class: "said", lang: hit.language || null, dir: "auto" }, ...text),
        el(
          "div",
          { class: "foot" },
          moments(hit),
          el("ul", { class: "legs", "aria-label": "Found by" }, leg("semantic", hit.scores.semantic), leg("keyword", hit.scores.keyword)),
        ),
      ),
    );
  }

  function coverage(answer) {
    const { coverage: state, mode } = answer;
    if (state.complete) return [];
    const missing = state.shards_total - state.shards_answered;
    const told = [];
    if (missing > 0) told.push(`${missing} of ${plural(state.shards_total, "part")} of the index did not answer, so some videos may be missing here.`);
    if (mode !== "keyword" && !state.legs.includes("semantic")) told.push("Searching by meaning did not work this time; these were found by their exact words.");
    if (mode !== "semantic" && !state.legs.includes("keyword")) told.push("Searching by exact words did not work this time; these were found by meaning.");
    const text = told.join(" ") || "Not everything could be searched this time.";
    return [notice({ text: `This answer is incomplete. ${text}`, kind: "warn", action: { label: "Ask again", run: onAgain } })];
  }

  function nothing(answer) {
    const tips = [];
    if (answer.mode !== "hybrid") tips.push(el("li", {}, "Search by both meaning and words: ", el("button", { type: "button", class: "as-link", on: { click: () => onMode("hybrid") } }, "switch to Both"), "."));
    if (/["“”]/.test(answer.query)) tips.push(el("li", {}, "Leave the quotation marks out: words in quotes must stand next to each other."));
    tips.push(el("li", {}, "Describe what was said in other words, as a whole sentence or question."));
    tips.push(el("li", {}, "Or use fewer words: a name or a rare word works best by exact words."));
    const busy = store.all().filter(store.isActive).length;
    if (busy) tips.push(el("li", {}, `${plural(busy, "video")} ${busy === 1 ? "is" : "are"} still being worked on; try again in a minute.`));
    const none = store.size() === 0;
    return el(
      "div",
      { class: "nothing" },
      el("h3", {}, none ? "There are no videos to search yet" : "Nothing like that was said"),
      none ? el("p", {}, "Add a video first: its first minutes can be searched soon after.") : el("ul", {}, ...tips),
    );
  }

  function mark() {
    for (const node of list.children) node.toggleAttribute("data-current", node.dataset.videoId === current);
  }

  function finish(answer) {
    const count = answer.hits.length ? plural(hits.length, "video") + (answer.next_cursor ? " so far" : "") : "No results";
    setText(byId("count"), answer.timing ? `${count} · ${Math.max(1, Math.round(answer.timing.total_ms))} ms` : count);
    byId("notice").replaceChildren(...coverage(answer));
    const more = answer.next_cursor && el("button", { type: "button", class: "button plain wide", on: { click: onMore } }, "More results");
    byId("after-hits").replaceChildren(...(hits.length ? (more ? [more] : []) : [nothing(answer)]));
    byId("results").removeAttribute("aria-busy");
    mark();
  }

  return {
    show(answer) {
      hits = answer.hits;
      list.replaceChildren(...hits.map(draw));
      finish(answer);
    },
    add(answer) {
      const from = hits.length;
      hits = [...hits, ...answer.hits];
      list.append(...answer.hits.map(draw));
      finish(answer);
      list.children[from]?.querySelector("a").focus({ preventScroll: true });
    },
    busy: () => byId("results").setAttribute("aria-busy", "true"),
    clear() {
      hits = [];
      list.replaceChildren();
      byId("notice").replaceChildren();
      byId("after-hits").replaceChildren();
      setText(byId("count"), "");
    },
    fail(error, retry) {
      byId("results").removeAttribute("aria-busy");
      setText(byId("count"), "");
      byId("notice").replaceChildren(notice({ text: error.message, kind: "error", action: { label: "Try again", run: retry } }));
      byId("after-hits").replaceChildren();
      hits = [];
      list.replaceChildren();
    },
    /** The hit of a video, or undefined: its moments are shown beside the player too. */
    of: (videoId) => hits.find((hit) => hit.video_id === videoId),
    setCurrent(videoId) {
      current = videoId;
      mark();
    },
    /** Moves the focus from hit to hit; -1 before the first one gives false. */
    step(by) {
      const links = [...list.querySelectorAll("a.cover")];
      const to = links.indexOf(document.activeElement) + by;
      if (to < 0 || !links.length) return false;
      links[Math.min(to, links.length - 1)].focus();
      return true;
    },
  };
}

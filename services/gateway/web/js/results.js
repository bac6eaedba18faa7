// Drawing an answer: hits, further moments, and the state of the answer when it is partial or empty.

import * as api from "./api.js";
import { byId, el, icon, notice, setText } from "./dom.js";
import { clock, day, language, plural, spokenClock } from "./format.js";
import { hidePeek } from "./peek.js";
import { createPicture } from "./picture.js";
import * as route from "./route.js";
import { marked } from "./said.js";
import * as store from "./store.js";
import { createStrip } from "./strip.js";
import { why } from "./why.js";

/** HTTP's status of a question that the server would refuse again. */
const WRONG = 400;

/**
 * @param {Object} handlers
 * @param {(hit: Object, moment: Object) => void} handlers.onOpen  a moment was chosen; `hit` holds all moments of its video
 * @param {() => void} handlers.onMore  the next page is wanted
 * @param {() => void} handlers.onAgain  the same question is to be asked again
 */
export function createResults({ onOpen, onMore, onAgain }) {
  const list = byId("hits");
  const rows = new Map();
  let hits = [];
  let current = null;

  const hrefOf = (moment) => route.href({ ...route.read(), videoId: moment.video_id, t: moment.match_time });

  function draw(hit) {
    const { video_id: id, match_time: at, title } = hit;
    const picture = createPicture(480);
    const facts = el("p", { class: "facts" });
    const strip = el("div", { class: "strip-place" });
    const node = el(
      "li",
      { class: "hit", data: { videoId: id } },
      el(
        "article",
        {},
        el("div", { class: "shot" }, picture.node, el("span", { class: "badge", "aria-hidden": "true" }, icon("play"), clock(at))),
        el(
          "div",
          { class: "what" },
          el("h3", {}, el("a", { class: "cover", href: hrefOf(hit), "aria-label": `${title}, play from ${spokenClock(at)}`, on: { click: route.followed(() => onOpen(hit, hit)) } }, title)),
          facts,
          el("p", { class: "said", lang: hit.language || null, dir: "auto" }, ...(hit.speaker ? [el("b", { class: "speaker" }, hit.speaker), " "] : []), ...marked(hit)),
        ),
        el("div", { class: "foot" }, strip, why(hit)),
      ),
    );

    function update() {
      const video = store.get(id);
      picture.show(id, at);
      setText(facts, [language(hit.language), video && day(video.metadata.uploaded_at), video?.collection].filter(Boolean).join(" · "));
      strip.replaceChildren(createStrip({ moments: [hit, ...(hit.more ?? [])], duration: video?.duration ?? 0, hrefOf, onOpen: (moment) => onOpen(hit, moment), follow: route.followed }).node);
    }

    update();
    rows.set(id, update);
    store.need(id, api.getVideo);
    return node;
  }

  store.subscribe((id) => {
    if (store.get(id)) rows.get(id)?.();
  });

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
    const { filters } = route.read();
    const tips = [];
    const tip = (text, label, change) => tips.push(el("li", {}, `${text}: `, el("button", { type: "button", class: "as-link", on: { click: () => route.go(change, { replace: true }) } }, label), "."));
    if (Object.keys(filters).length) tip("Look in everything there is", "clear the filters", { filters: {} });
    if (answer.mode !== "hybrid") tip("Search by both meaning and words", "switch to Both", { mode: "hybrid" });
    const unquoted = answer.query.replace(/["“”]/g, "").trim();
    if (unquoted && unquoted !== answer.query) tip("Words in quotation marks must stand next to each other", `search for ${unquoted}`, { q: unquoted });
    tips.push(el("li", {}, "Describe what was said in other words, as a whole sentence or question."));
    tips.push(el("li", {}, "Or use fewer words: a name or a rare word works best by exact words."));
    const busy = store.all().filter(store.isActive).length;
    if (busy) tips.push(el("li", {}, `${plural(busy, "video")} ${busy === 1 ? "is" : "are"} still being worked on; try again in a minute.`));
    const words = answer.query.toLocaleLowerCase().match(/\p{L}{3,}/gu) ?? [];
    const named = store.all().filter(({ title }) => words.some((word) => title.toLocaleLowerCase().includes(word))).slice(0, 4);
    const none = store.size() === 0;
    return el(
      "div",
      { class: "nothing" },
      el("h3", {}, none ? "There are no videos to search yet" : "Nothing like that was said"),
      none ? el("p", {}, "Add a video first: its first minutes can be searched soon after.") : el("ul", {}, ...tips),
      named.length > 0 && el("p", { class: "nothing-named" }, "Videos with such a title: ", ...named.flatMap(({ video_id: videoId, title }, index) => [index ? ", " : "", el("a", { class: "as-link", href: route.href({ videoId }), on: { click: route.followed(() => route.go({ videoId, t: null, q: "" })) } }, title)])),
    );
  }

  function mark() {
    for (const node of list.children) node.toggleAttribute("data-current", node.dataset.videoId === current);
  }

  function learn(answer) {
    store.hear(answer.hits.flatMap((hit) => [hit.speaker, ...(hit.more ?? []).map((moment) => moment.speaker)]));
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

  function empty() {
    hidePeek();
    hits = [];
    rows.clear();
    list.replaceChildren();
    byId("notice").replaceChildren();
    byId("after-hits").replaceChildren();
    setText(byId("count"), "");
  }

  return {
    show(answer) {
      empty();
      learn(answer);
      hits = answer.hits;
      list.replaceChildren(...hits.map(draw));
      finish(answer);
    },
    add(answer) {
      learn(answer);
      const from = hits.length;
      hits = [...hits, ...answer.hits];
      list.append(...answer.hits.map(draw));
      finish(answer);
      list.children[from]?.querySelector("a").focus({ preventScroll: true });
    },
    busy: () => byId("results").setAttribute("aria-busy", "true"),
    clear: empty,
    fail(error, retry) {
      empty();
      byId("results").removeAttribute("aria-busy");
      byId("notice").replaceChildren(notice({ text: error.message, kind: "error", action: error.status === WRONG ? null : { label: "Try again", run: retry } }));
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

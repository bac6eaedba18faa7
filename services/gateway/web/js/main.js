// Wires the page: the address says what is shown, the parts say where to go.

import { connectAdding } from "./adding.js";
import { byId, setText } from "./dom.js";
import { createFilters } from "./filters.js";
import { createLibrary } from "./library.js";
import * as live from "./live.js";
import { createOperations } from "./operations.js";
import { createPlayer } from "./player.js";
import { createResults } from "./results.js";
import { applyRights } from "./rights.js";
import * as route from "./route.js";
import { createSearch, watchTyping } from "./search.js";
import { showUnfinished } from "./unfinished.js";
import { createUploads } from "./uploads.js";

const TITLES = { library: "Library · Earmark", operations: "Operations · Earmark", "": "Earmark" };

const input = byId("q");
const phone = window.matchMedia("(max-width: 53.74em)");
let opener = null;
/** The list from which a video was opened, to go back to. */
let cameFrom = "";
/** Filters chosen before there was a question: the address has them as soon as there is one. */
let pending = {};

function openMoment(videoId, t) {
  opener = document.activeElement;
  route.go({ videoId, t });
}

const results = createResults({
  onOpen: (hit, moment) => openMoment(moment.video_id, moment.match_time),
  onMore: () => search.more(),
  onAgain: () => search.again(),
});
const filters = createFilters();
const library = createLibrary({ onOpen: (id) => openMoment(id, null), onLoaded: applyRights });
const operations = createOperations({ onSearch: (q) => route.go({ view: "", q }) });
const close = () => route.go({ videoId: null, t: null, view: cameFrom });
const player = createPlayer({
  onClose: close,
  onJump: (t) => route.go({ t }, { replace: true }),
  onSearchIn(id) {
    const over = phone.matches ? { videoId: null, t: null } : {}; // there the player lies over the search
    route.go({ ...over, filters: { ...route.read().filters, video_id: id } }, { replace: true });
    pending = { video_id: id };
    input.focus();
    input.select();
  },
});
const search = createSearch({
  onClear: results.clear,
  onAsk: results.busy,
  onAnswer(answer, further) {
    if (further) results.add(answer);
    else results.show(answer);
    const { videoId } = route.read();
    if (videoId) player.found(results.of(videoId));
  },
  onError: results.fail,
});

function arrive(place) {
  const { q, mode, videoId, view } = place;
  const asking = q.trim() !== "";
  const watching = videoId !== null;
  const shown = asking || watching ? "" : view;
  if (!watching) cameFrom = view;
  document.body.dataset.view = asking || watching || view ? "work" : "home";
  document.body.dataset.list = asking ? "results" : view === "operations" && !watching ? "operations" : "library";
  document.body.toggleAttribute("data-watching", watching);
  document.querySelector(".skip").hash = watching ? "player-title" : "column"; // beside the player there may be no list
  if (input.value.trim() !== q.trim()) input.value = q;
  byId("clear").hidden = !asking;
  byId("modes").querySelector(`[value="${mode}"]`).checked = true;
  for (const name of ["results", "library", "operations"]) byId(name).hidden = document.body.dataset.list !== name;
  for (const link of document.querySelectorAll("[data-to]")) {
    if (link.dataset.to === shown && shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (!watching) document.title = asking ? `${q.trim()} · Earmark` : TITLES[view];
  filters.show(place.filters);
  search.ask(place);
  operations.show(!byId("operations").hidden);
  results.setCurrent(videoId);
  library.setCurrent(videoId);
  live.prefer(videoId);
  if (watching) player.show({ id: videoId, t: place.t, hit: asking ? results.of(videoId) : undefined, focus: opener !== null });
  else if (player.isOpen()) {
    player.hide();
    if (opener?.isConnected) setTimeout(() => opener?.focus({ preventScroll: true }));
  }
  cover();
}

/** On a phone the player lies over everything, so what is under it must not take the focus. */
function cover() {
  const covered = phone.matches && player.isOpen();
  for (const id of ["column", "masthead"]) byId(id).inert = covered;
}

function clear() {
  input.value = "";
  pending = {};
  route.go({ q: "", mode: route.read().mode, filters: {} });
  input.focus();
}

watchTyping(byId("search"), input, (text) => {
  const { q: before, filters: given, videoId } = route.read();
  if (text.trim() === before.trim()) return;
  // On a phone the player lies over the answers.
  const leave = videoId && phone.matches ? { videoId: null, t: null } : {};
  // One entry in the history a search, not one a letter.
  route.go({ q: text, filters: { ...pending, ...given }, ...leave }, { replace: before.trim() !== "" });
  pending = {};
});
byId("clear").addEventListener("click", clear);
byId("modes").addEventListener("change", (event) => route.go({ mode: event.target.value }, { replace: true }));
for (const link of document.querySelectorAll("[data-to]"))
  link.addEventListener(
    "click",
    route.followed(() => {
      opener = null;
      pending = {};
      route.go({ view: link.dataset.to, q: "", mode: "hybrid", filters: {}, videoId: null, t: null });
      if (link.dataset.to) byId(`${link.dataset.to}-title`).focus();
    }),
  );
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const dialog of document.querySelectorAll("dialog"))
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // a click on the backdrop
  });
phone.addEventListener("change", cover);

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input, textarea, select");
  const waiting = event.target === input && !input.value; // "/" has brought them here already, or need not
  if (event.key === "/" && (!typing || waiting) && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "Escape" && event.target === input && input.value) {
    event.preventDefault();
    clear();
  } else if (event.key === "Escape" && !typing && player.isOpen() && !document.fullscreenElement) {
    close();
  } else if (event.key === "ArrowDown" && (event.target === input || event.target.matches("a.cover"))) {
    if (results.step(1)) event.preventDefault();
  } else if (event.key === "ArrowUp" && event.target.matches("#hits a.cover")) {
    event.preventDefault();
    if (!results.step(-1)) input.focus();
  }
});

connectAdding(createUploads());
setText(byId("live"), "");
library.load().then(() => {
  live.start(() => library.load());
  return showUnfinished();
});
route.start(arrive);
if (!route.read().videoId && window.matchMedia("(hover: hover)").matches) input.focus({ preventScroll: true });

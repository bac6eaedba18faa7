// Wires the page: the address says what is shown, the parts say where to go.

import { byId, setText } from "./dom.js";
import { createLibrary } from "./library.js";
import * as live from "./live.js";
import { createPlayer } from "./player.js";
import { createResults } from "./results.js";
import * as route from "./route.js";
import { createSearch, watchTyping } from "./search.js";
import { connectAdding, createUploads } from "./upload.js";

const input = byId("q");
const phone = window.matchMedia("(max-width: 53.74em)");
let opener = null;

function openMoment(videoId, t) {
  opener = document.activeElement;
  route.go({ videoId, t });
}

const results = createResults({
  onOpen: (hit, moment) => openMoment(moment.video_id, moment.match_time),
  onMore: () => search.more(),
  onAgain: () => search.again(),
  onMode: (mode) => route.go({ mode }, { replace: true }),
});
const library = createLibrary({ onOpen: (id) => openMoment(id, null) });
const player = createPlayer({
  onClose: () => route.go({ videoId: null, t: null }),
  onJump: (t) => route.go({ t }, { replace: true }),
});
const search = createSearch({
  onClear: results.clear,
  onAsk: results.busy,
  onAnswer(answer, further) {
    if (further) results.add(answer);
    else results.show(answer);
    const { videoId, q } = route.read();
    if (videoId) player.found(results.of(videoId), q.trim());
  },
  onError: results.fail,
});

function arrive(place) {
  const asking = place.q.trim() !== "";
  const watching = place.videoId !== null;
  document.body.dataset.view = asking || watching ? "work" : "home";
  document.body.toggleAttribute("data-watching", watching);
  if (input.value.trim() !== place.q.trim()) input.value = place.q;
  byId("clear").hidden = !asking;
  byId("modes").querySelector(`[value="${place.mode}"]`).checked = true;
  byId("results").hidden = !asking;
  byId("library").hidden = asking;
  if (!watching) document.title = asking ? `${place.q.trim()} · Earmark` : "Earmark";
  search.ask(place.q, place.mode);
  results.setCurrent(place.videoId);
  library.setCurrent(place.videoId);
  live.prefer(place.videoId);
  if (watching) player.show({ id: place.videoId, t: place.t, hit: results.of(place.videoId), q: place.q.trim(), focus: opener !== null });
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
  route.go({ q: "", mode: route.read().mode });
  input.focus();
}

watchTyping(byId("search"), input, (text) => {
  const before = route.read().q;
  // One entry in the history a search, not one a letter.
  if (text.trim() !== before.trim()) route.go({ q: text }, { replace: before.trim() !== "" });
});
byId("clear").addEventListener("click", clear);
byId("modes").addEventListener("change", (event) => route.go({ mode: event.target.value }, { replace: true }));
for (const home of document.querySelectorAll("[data-home]"))
  home.addEventListener("click", (event) => {
    if (!route.isPlainClick(event)) return;
    event.preventDefault();
    opener = null;
    route.go({ q: "", mode: "hybrid", videoId: null, t: null });
  });
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const dialog of document.querySelectorAll("dialog"))
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // a click on the backdrop
  });
phone.addEventListener("change", cover);

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "Escape" && event.target === input && input.value) {
    event.preventDefault();
    clear();
  } else if (event.key === "Escape" && !typing && player.isOpen() && !document.fullscreenElement) {
    route.go({ videoId: null, t: null });
  } else if (event.key === "ArrowDown" && (event.target === input || event.target.matches("a.cover"))) {
    if (results.step(1)) event.preventDefault();
  } else if (event.key === "ArrowUp" && event.target.matches("#hits a.cover")) {
    event.preventDefault();
    if (!results.step(-1)) input.focus();
  }
});

connectAdding(createUploads());
setText(byId("live"), "");
library.load().then(() => live.start(() => library.load()));
route.start(arrive);
if (!route.read().videoId && window.matchMedia("(hover: hover)").matches) input.focus({ preventScroll: true });

// One video, playing: the media, what it is, the moments found in it, and its transcript.

import * as api from "./api.js";
import { createCaptions } from "./captions.js";
import { announce, byId, el, icon, notice, setText } from "./dom.js";
import { clock, day, language, roughly } from "./format.js";
import * as route from "./route.js";
import { share } from "./share.js";
import { createSlices } from "./slices.js";
import * as store from "./store.js";
import { createStrip } from "./strip.js";
import { createTranscript } from "./transcript.js";

const NOTHING_TO_PLAY = "There is nothing to play: this video was made of a transcript.";
const UNPLAYABLE = "Your browser can’t play this file. Download it to play it elsewhere; the transcript works all the same.";
const NO_RENDITION = "Browsers can’t play this file, and making a version that they can did not work. Download it to play it elsewhere; the transcript works all the same.";
const PREPARING = "Browsers can’t play this file as it is. A version that they can is being made, and plays here as soon as it is there.";
const LOOK_AGAIN_MS = 3000;

/**
 * @param {() => void} onClose
 * @param {(seconds: number) => void} onJump  someone chose a second of the open video
 * @param {(videoId: string) => void} onSearchIn  someone wants to search in this video only
 */
export function createPlayer({ onClose, onJump, onSearchIn }) {
  const root = byId("player");
  const title = el("h2", { id: "player-title", tabIndex: -1 });
  const facts = el("p", { class: "facts" });
  const problem = el("div", {});
  const found = el("div", { class: "found" });
  const state = el("p", { class: "transcript-state", role: "status" });
  const stage = el("div", { class: "stage" });
  const slices = createSlices();
  const captions = createCaptions();
  const transcript = createTranscript(onJump);
  const copy = el("button", { type: "button", class: "button plain", on: { click: handOn } }, icon("link"), el("span", {}, "Share"));
  const within = el("button", { type: "button", class: "button plain", on: { click: () => onSearchIn(open.id) } }, icon("search"), el("span", {}, "Search in it"));
  const download = el("a", { download: "" }, "Original file");
  const written = ["VTT", "SRT", "TXT"].map((form) => el("a", { download: "", "aria-label": `Download the transcript as ${form}`, data: { form: form.toLowerCase() } }, `Transcript, ${form}`));
  const menu = el("details", { class: "menu" }, el("summary", { class: "button plain" }, icon("down"), el("span", {}, "Download")), el("div", { class: "menu-items" }, download, ...written));
  root.append(
    el("div", { class: "player-head" }, title, el("button", { type: "button", class: "quiet round", "aria-label": "Close the player", on: { click: () => onClose() } }, icon("close"))),
    el(
      "div",
      { class: "player-body" },
      el("div", { class: "watch" }, stage, problem, found, el("div", { class: "under" }, facts, el("div", { class: "row" }, copy, captions.button, within, menu)), slices.node),
      el("section", { class: "transcript", "aria-labelledby": "transcript-title" }, el("div", { class: "transcript-head" }, el("h3", { id: "transcript-title" }, "Transcript"), transcript.find), state, transcript.node),
    ),
  );

  let open = null; // {id, media, loading: AbortController, done: slices in the transcript shown, strip, rendered: whether it was tried}

  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.preventDefault();
    menu.open = false;
    menu.firstElementChild.focus();
  });
  document.addEventListener("click", (event) => {
    if (menu.open && (!menu.contains(event.target) || event.target.closest("a"))) menu.open = false;
  });

  async function handOn() {
    const label = copy.querySelector("span");
    const at = now();
    const how = await share({ title: store.get(open.id)?.title ?? "", url: route.shareLink(open.id, at) });
    const told = { copied: `Link to ${clock(at)} copied`, failed: "Could not copy", shared: "Shared" }[how];
    if (!told) return;
    setText(label, told);
    announce(told);
    setTimeout(() => setText(label, "Share"), 2500);
  }

  /** The second the player is at, or with nothing to play the one that was chosen last. */
  const now = () => (open.mute ? (open.t ?? 0) : open.media.currentTime);

  function tellTime(seconds) {
    transcript.at(seconds);
    open?.strip?.at(seconds);
  }

  /** Puts words where the picture would be, once it is known that there is none. */
  function mute() {
    if (open.mute || store.get(open.id)?.links.media !== null) return;
    open.mute = true;
    open.media.removeAttribute("src");
    open.media.load();
    const { url } = store.get(open.id);
    const seen = /^https?:/.test(url ?? "") && el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, "See it where it comes from");
    stage.replaceChildren(el("p", { class: "nothing-to-play" }, NOTHING_TO_PLAY, ...(seen ? [" ", seen] : [])));
    problem.replaceChildren();
    download.hidden = true;
    transcript.at(now());
  }

  function createMedia(id) {
    // A new element each time: a video that failed or still loads can't disturb the next one.
    const media = el("video", { class: "media", controls: true, preload: "metadata", src: api.canAsk(id) ? api.mediaUrl(id) : null, playsInline: true, "aria-labelledby": "player-title" });
    const tell = () => media.isConnected && tellTime(media.currentTime);
    // Words are shorter than the quarter of a second between two `timeupdate`s.
    const step = () => {
      if (media.paused || !media.isConnected) return;
      tell();
      requestAnimationFrame(step);
    };
    media.addEventListener("play", step);
    media.addEventListener("timeupdate", tell);
    media.addEventListener("seeking", () => {
      transcript.followAgain();
      tell();
    });
    media.addEventListener("loadedmetadata", () => {
      stage.classList.toggle("sound-only", media.videoWidth === 0);
      if (media.isConnected && media.videoWidth === 0 && store.get(id)?.playable === "preparing") tellBroken();
    });
    media.addEventListener("error", () => media.isConnected && tellBroken());
    return media;
  }

  /** Whether there is nothing to see where there should be: an error, or of a video only the sound. */
  const stuck = ({ media }) => media.error !== null || (media.readyState >= HTMLMediaElement.HAVE_METADATA && media.videoWidth === 0);

  function tellBroken() {
    // Before anything is known of the video it may be the link that does not hold: a signed one comes with the video.
    if (!api.knows(open.id) || takeRendition()) return;
    const { playable } = store.get(open.id) ?? {};
    const coming = playable === "preparing" || playable === null; // null: nobody has looked yet
    const save = el("a", { class: "button plain", href: api.originalUrl(open.id), download: "" }, icon("down"), "Download");
    if (coming) problem.replaceChildren(notice({ text: PREPARING }));
    else if (playable === "failed") problem.replaceChildren(notice({ text: NO_RENDITION, kind: "warn", action: { label: "Try again", run: () => makeAgain(open) }, link: save }));
    else problem.replaceChildren(notice({ text: UNPLAYABLE, kind: "warn", link: save }));
    awaitRendition();
  }

  async function makeAgain(mine) {
    problem.replaceChildren(notice({ text: PREPARING }));
    const video = await api.retryVideo(mine.id).catch((error) => announce(error.message));
    if (video) store.put(video);
    if (open === mine) tellBroken();
  }

  /** Plays the rendition where the original was tried in vain and there is one now; gives whether it did. */
  function takeRendition() {
    if (open.rendered || store.get(open.id)?.playable !== "rendition" || !stuck(open)) return false;
    const { currentTime: at, paused } = open.media;
    open.rendered = true;
    open.media.src = api.renditionUrl(open.id);
    problem.replaceChildren();
    seek(at || open.t || 0, !paused || open.t !== null);
    return true;
  }

  /** Looks now and then whether what browsers can play is there: of a video that is ready no event tells. */
  function awaitRendition() {
    const { playable } = store.get(open.id) ?? {};
    if (open.mute || open.waiting) return;
    if (playable === "preparing" || (playable === null && open.media.error)) open.waiting = setTimeout(lookAgain, LOOK_AGAIN_MS, open);
  }

  async function lookAgain(mine) {
    const video = await api.getVideo(mine.id).catch(() => null);
    if (open !== mine) return;
    mine.waiting = 0;
    if (video) store.put(video);
    else awaitRendition();
  }

  /** Gives the media its link, where it has had none that holds. */
  function connect() {
    if (open.mute || takeRendition()) return;
    const { media } = open;
    const link = open.rendered ? api.renditionUrl(open.id) : api.mediaUrl(open.id);
    if ((!media.hasAttribute("src") || media.error) && media.getAttribute("src") !== link) media.src = link;
    else if (media.error) tellBroken();
  }

  function seek(t, play) {
    open.t = t;
    transcript.followAgain();
    if (open.mute) return tellTime(t);
    const { media } = open;
    const jump = () => {
      media.currentTime = Math.min(t, Number.isFinite(media.duration) ? media.duration : t);
      // Refused when nobody has clicked yet (a shared link): it then waits, paused, at the right second.
      if (play) media.play().catch(() => {});
    };
    if (media.readyState >= HTMLMediaElement.HAVE_METADATA) return jump();
    tellTime(t); // the media comes later, over a slow line a good deal
    media.addEventListener("loadedmetadata", jump, { once: true });
    return undefined;
  }

  async function load() {
    const mine = open;
    mine.done = store.get(mine.id)?.progress.slices_done ?? 0;
    try {
      const answer = await api.transcript(mine.id, mine.loading.signal);
      if (open !== mine) return;
      store.hear(answer.segments.map((segment) => segment.speaker));
      transcript.show(answer.segments, answer.language);
      transcript.mark(mine.ranges);
      transcript.at(mine.media.currentTime || mine.t || 0);
      if (answer.segments.length && !mine.mute) captions.put(mine.media, mine.id, answer.language);
      mine.shown = answer;
      describe();
    } catch (error) {
      if (open === mine && error.name !== "AbortError") setText(state, error.message);
    }
  }

  function describe() {
    const video = store.get(open.id);
    if (!video) return;
    mute();
    connect();
    awaitRendition();
    setText(title, video.title);
    document.title = `${video.title} · Earmark`;
    const parts = [video.duration && clock(video.duration), language(video.metadata.language), day(video.metadata.uploaded_at), video.collection];
    setText(facts, parts.filter(Boolean).join(" · "));
    download.href = api.originalUrl(open.id);
    for (const link of written) link.href = api.transcriptUrl(open.id, link.dataset.form);
    download.download = video.source?.filename ?? "";
    slices.node.hidden = video.status !== "processing";
    if (!slices.node.hidden) slices.show(video);
    const lines = open.shown?.segments.length ?? 0;
    let told = "";
    if (store.isActive(video)) told = lines ? `Still being written: ${roughly(video.progress.seconds_searchable)} done so far.` : "Nothing written yet. It appears here as it is made.";
    else if (video.status === "failed" && open.mute) told = lines ? "The transcript is whole, but a part of it could not be made searchable." : "";
    else if (video.status === "failed") told = lines ? "Incomplete: a part could not be transcribed." : "There is no transcript: this video could not be transcribed.";
    else if (open.shown && !lines) told = "No speech was found in this video.";
    setText(state, told);
    drawFound();
  }

  function showFound(hit) {
    open.moments = hit ? [hit, ...(hit.more ?? [])] : [];
    open.ranges = open.moments.map((moment) => ({ start: moment.start_time, end: moment.end_time }));
    open.strip = null;
    transcript.mark(open.ranges);
    drawFound();
  }

  function drawFound() {
    const { moments } = open;
    const duration = store.get(open.id)?.duration ?? 0;
    if (open.strip && open.drawn === duration) return;
    open.drawn = duration;
    found.replaceChildren();
    if (!moments.length) return;
    const hrefOf = (moment) => route.href({ ...route.read(), t: moment.match_time });
    open.strip = createStrip({ moments, duration, hrefOf, onOpen: (moment) => onJump(moment.match_time), follow: route.followed });
    found.append(open.strip.node);
    open.strip.at(now());
  }

  /** The moment found after, or with -1 before, the second that plays. */
  function neighbour(by) {
    const times = open.moments.map((moment) => moment.match_time).sort((a, b) => a - b);
    const at = now();
    return by > 0 ? times.find((time) => time > at + 0.5) : times.findLast((time) => time < at - 1.5);
  }

  // Only where the focus is in the player: single letters are no shortcuts elsewhere.
  root.addEventListener("keydown", (event) => {
    if (!open || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input")) return;
    const { media } = open;
    const jump = (t) => t !== undefined && onJump(Math.max(0, t));
    const run = {
      k: () => (media.paused ? media.play().catch(() => {}) : media.pause()),
      j: () => jump(now() - 10),
      l: () => jump(now() + 10),
      n: () => jump(neighbour(1)),
      p: () => jump(neighbour(-1)),
      c: () => captions.toggle(),
    }[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });

  store.subscribe((id) => {
    if (id !== open?.id) return;
    const video = store.get(id);
    if (!video) return onClose();
    describe();
    if (video.progress.slices_done > open.done || (video.status === "ready" && open.shown && !open.shown.complete)) {
      if (open.shown) open.shown.complete = true; // asked for once, whatever the answer says
      load();
    }
    return undefined;
  });

  return {
    isOpen: () => open !== null,
    /**
     * Opens a video, or jumps in the one that is open.
     *
     * @param {{id: string, t: number|null, hit: Object|undefined, focus: boolean}} what
     */
    async show({ id, t, hit, focus }) {
      const fresh = open?.id !== id;
      if (fresh) {
        this.hide();
        root.hidden = false;
        open = { id, t, media: createMedia(id), loading: new AbortController(), done: 0, ranges: [], moments: [], shown: null, mute: false, waiting: 0, rendered: false };
        problem.replaceChildren();
        root.removeAttribute("data-broken");
        setText(title, "…");
        setText(facts, "");
        setText(state, "");
        slices.node.hidden = true;
        stage.classList.remove("sound-only");
        stage.replaceChildren(open.media);
        download.hidden = false;
        root.scrollTop = 0;
        mute();
      }
      showFound(hit);
      if (t !== null) seek(t, true);
      if (focus && fresh) title.focus({ preventScroll: true });
      if (!fresh) return;
      const mine = open;
      try {
        if (!store.get(id)) store.put(await api.getVideo(id));
        if (open !== mine) return;
        describe();
        await load();
      } catch (error) {
        if (open !== mine) return;
        const gone = error.status === 404;
        setText(title, gone ? "This video is not here" : "This video can’t be opened");
        stage.replaceChildren();
        root.toggleAttribute("data-broken", true);
        problem.replaceChildren(notice({ text: gone ? "It was deleted, or the link is not complete." : error.message, kind: "error" }));
      }
    },
    /** Shows the moments of a new answer beside the video that is open. */
    found: (hit) => open && showFound(hit),
    hide() {
      if (!open) return;
      open.loading.abort();
      clearTimeout(open.waiting);
      open.media.pause();
      open.media.removeAttribute("src");
      open.media.load(); // lets go of the connection
      open = null;
      menu.open = false;
      stage.replaceChildren();
      found.replaceChildren();
      captions.clear();
      transcript.clear();
      root.hidden = true;
    },
  };
}

// One video, playing: the media, what it is, the moments found in it, and its transcript.

import * as api from "./api.js";
import { announce, byId, el, icon, notice, setText } from "./dom.js";
import { clock, day, language, roughly, spokenClock } from "./format.js";
import * as route from "./route.js";
import * as store from "./store.js";
import { createTranscript } from "./transcript.js";

const NOTHING_TO_PLAY = "There is nothing to play: this video was made of a transcript.";
const UNPLAYABLE = "Your browser can’t play this kind of file. The transcript works all the same, and the original can be downloaded.";

/**
 * @param {() => void} onClose
 * @param {(seconds: number) => void} onJump  someone chose a second of the open video
 */
export function createPlayer({ onClose, onJump }) {
  const root = byId("player");
  const title = el("h2", { id: "player-title", tabIndex: -1 });
  const facts = el("p", { class: "facts" });
  const problem = el("div", {});
  const found = el("div", { class: "found" });
  const state = el("p", { class: "transcript-state", role: "status" });
  const stage = el("div", { class: "stage" });
  const transcript = createTranscript(onJump);
  const copy = el("button", { type: "button", class: "button plain", on: { click: share } }, icon("link"), el("span", {}, "Copy link"));
  const download = el("a", { class: "button plain", download: "" }, icon("down"), el("span", {}, "Original"));
  const written = ["VTT", "SRT", "TXT"].map((form) => el("a", { class: "button plain", download: "", "aria-label": `Download the transcript as ${form}` }, form));
  root.append(
    el("div", { class: "player-head" }, title, el("button", { type: "button", class: "quiet round", "aria-label": "Close the player", on: { click: () => onClose() } }, icon("close"))),
    el(
      "div",
      { class: "player-body" },
      el("div", { class: "watch" }, stage, problem, el("div", { class: "under" }, facts, el("div", { class: "row" }, copy, download, ...written)), found),
      el("section", { class: "transcript", "aria-labelledby": "transcript-title" }, el("h3", { id: "transcript-title" }, "Transcript"), state, transcript.node),
    ),
  );

  let open = null; // {id, media, loading: AbortController, done: slices in the transcript shown}

  function share() {
    const link = route.shareLink(open.id, now());
    const label = copy.querySelector("span");
    copyText(link).then((ok) => {
      const told = ok ? `Link to ${clock(open ? now() : 0)} copied` : "Could not copy";
      setText(label, told);
      announce(told);
      setTimeout(() => setText(label, "Copy link"), 2500);
    });
  }

  /** The second the player is at, or with nothing to play the one that was chosen last. */
  const now = () => (open.mute ? (open.t ?? 0) : open.media.currentTime);

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
    media.addEventListener("timeupdate", () => transcript.at(media.currentTime));
    media.addEventListener("seeking", () => {
      transcript.followAgain();
      transcript.at(media.currentTime);
    });
    media.addEventListener("loadedmetadata", () => stage.classList.toggle("sound-only", media.videoWidth === 0));
    media.addEventListener("error", () => media.isConnected && tellBroken());
    return media;
  }

  function tellBroken() {
    // Before anything is known of the video it may be the link that does not hold: a signed one comes with the video.
    if (api.knows(open.id)) problem.replaceChildren(notice({ text: UNPLAYABLE, kind: "warn" }));
  }

  /** Gives the media its link, where it has had none that holds. */
  function connect() {
    if (open.mute) return;
    const { media } = open;
    const link = api.mediaUrl(open.id);
    if ((!media.hasAttribute("src") || media.error) && media.getAttribute("src") !== link) media.src = link;
    else if (media.error) tellBroken();
  }

  function seek(t, play) {
    open.t = t;
    transcript.followAgain();
    if (open.mute) {
      transcript.at(t);
      return;
    }
    const { media } = open;
    const jump = () => {
      media.currentTime = Math.min(t, Number.isFinite(media.duration) ? media.duration : t);
      // Refused when nobody has clicked yet (a shared link): it then waits, paused, at the right second.
      if (play) media.play().catch(() => {});
    };
    if (media.readyState >= HTMLMediaElement.HAVE_METADATA) jump();
    else media.addEventListener("loadedmetadata", jump, { once: true });
  }

  function captions(code) {
    const old = open.media.querySelector("track");
    const mode = old?.track.mode ?? "disabled";
    const track = el("track", { kind: "captions", label: language(code) || "Captions", src: api.captionsUrl(open.id) });
    if (code) track.srclang = code;
    old?.remove();
    open.media.append(track);
    if (mode !== "disabled") track.track.mode = mode;
  }

  async function load() {
    const mine = open;
    mine.done = store.get(mine.id)?.progress.slices_done ?? 0;
    try {
      const answer = await api.transcript(mine.id, mine.loading.signal);
      if (open !== mine) return;
      transcript.show(answer.segments, answer.language);
      transcript.mark(mine.ranges);
      transcript.at(mine.media.currentTime || mine.t || 0);
      if (answer.segments.length && !mine.mute) captions(answer.language);
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
    setText(title, video.title);
    document.title = `${video.title} · Earmark`;
    const parts = [video.duration && clock(video.duration), language(video.metadata.language), day(video.metadata.uploaded_at)];
    setText(facts, parts.filter(Boolean).join(" · "));
    download.href = api.mediaUrl(open.id);
    for (const link of written) link.href = api.transcriptUrl(open.id, link.textContent.toLowerCase());
    download.download = video.source?.filename ?? "";
    download.title = `Download ${video.source?.filename ?? "the original"}`;
    const lines = open.shown?.segments.length ?? 0;
    let told = "";
    if (store.isActive(video)) told = lines ? `Still being written: ${roughly(video.progress.seconds_searchable)} done so far.` : "Nothing written yet. It appears here as it is made.";
    else if (video.status === "failed" && open.mute) told = lines ? "The transcript is whole, but a part of it could not be made searchable." : "";
    else if (video.status === "failed") told = lines ? "Incomplete: a part could not be transcribed." : "There is no transcript: this video could not be transcribed.";
    else if (open.shown && !lines) told = "No speech was found in this video.";
    setText(state, told);
  }

  function showFound(hit, q) {
    const moments = hit ? [hit, ...(hit.more ?? [])].sort((a, b) => a.match_time - b.match_time) : [];
    open.ranges = moments.map((moment) => ({ start: moment.start_time, end: moment.end_time }));
    transcript.mark(open.ranges);
    if (!moments.length) return found.replaceChildren();
    const chips = moments.map((moment) =>
      el(
        "li",
        {},
        el("button", { type: "button", class: "chip", title: moment.text, "aria-label": `${clock(moment.match_time)}, jump to ${spokenClock(moment.match_time)}`, on: { click: () => onJump(moment.match_time) } }, clock(moment.match_time)),
      ),
    );
    return found.replaceChildren(el("span", { class: "moments-label" }, `“${q}” at`), el("ul", { class: "chips" }, ...chips));
  }

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
     * @param {{id: string, t: number|null, hit: Object|undefined, q: string, focus: boolean}} what
     */
    async show({ id, t, hit, q, focus }) {
      const fresh = open?.id !== id;
      if (fresh) {
        this.hide();
        root.hidden = false;
        open = { id, t, media: createMedia(id), loading: new AbortController(), done: 0, ranges: [], shown: null, mute: false };
        problem.replaceChildren();
        root.removeAttribute("data-broken");
        setText(title, "…");
        setText(facts, "");
        setText(state, "");
        stage.classList.remove("sound-only");
        stage.replaceChildren(open.media);
        download.hidden = false;
        root.scrollTop = 0;
        mute();
      }
      showFound(hit, q);
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
    found: (hit, q) => open && showFound(hit, q),
    hide() {
      if (!open) return;
      open.loading.abort();
      open.media.pause();
      open.media.removeAttribute("src");
      open.media.load(); // lets go of the connection
      open = null;
      stage.replaceChildren();
      transcript.clear();
      root.hidden = true;
    },
  };
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard API needs HTTPS or localhost; a mesh on the local network is often neither.
    const area = el("textarea", { value: text, readOnly: true, class: "hidden" });
    document.body.append(area);
    area.select();
    const ok = document.execCommand("copy");
    area.remove();
    return ok;
  }
}

// The address bar is the page's state: what is asked, and which video is open at which second.

/** @typedef {{q: string, mode: string, videoId: string|null, t: number|null}} Place */

const MODES = ["hybrid", "semantic", "keyword"];

/** @returns {Place} */
export function read(location = window.location) {
  const params = new URLSearchParams(location.search);
  const path = /^\/v\/([^/]+)\/?$/.exec(location.pathname);
  const t = parseFloat(params.get("t") ?? "");
  return {
    q: params.get("q") ?? "",
    mode: MODES.includes(params.get("mode")) ? params.get("mode") : "hybrid",
    videoId: path ? decodeURIComponent(path[1]) : null,
    t: Number.isFinite(t) && t >= 0 ? t : null,
  };
}

/** The address of a place, without origin. */
export function href({ q = "", mode = "hybrid", videoId = null, t = null }) {
  const params = new URLSearchParams();
  if (videoId && t !== null) params.set("t", String(Math.round(t * 100) / 100));
  if (q) params.set("q", q);
  if (q && mode !== "hybrid") params.set("mode", mode);
  const query = params.toString();
  return `${videoId ? `/v/${encodeURIComponent(videoId)}` : "/"}${query ? `?${query}` : ""}`;
}

/** The link people share: the video and the whole second, nothing about the search. */
export const shareLink = (videoId, t) => `${window.location.origin}${href({ videoId, t: Math.floor(t) })}`;

let arrive = () => {};

/** Calls `onArrive(place)` now, and after every `go` and every Back and Forward. */
export function start(onArrive) {
  arrive = onArrive;
  window.addEventListener("popstate", () => arrive(read()));
  arrive(read());
}

/** Goes to the present place with `changes`. */
export function go(changes, { replace = false } = {}) {
  const place = { ...read(), ...changes };
  const address = href(place);
  if (address !== window.location.pathname + window.location.search) {
    window.history[replace ? "replaceState" : "pushState"](null, "", address);
  }
  arrive(place);
}

/** Whether a click means "follow this link here", not "open a new tab". */
export const isPlainClick = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

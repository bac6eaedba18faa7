// The address bar is the page's state: what is asked, with which filters, and which video is open at which second.

/** @typedef {{view: string, q: string, mode: string, filters: Object<string, string>, videoId: string|null, t: number|null}} Place */

const MODES = ["hybrid", "semantic", "keyword"];
/** The paths of the views; `/operations` is a name of the API. */
const PATHS = { library: "/library", operations: "/ops" };

/** The filters of a search, by the names that the API has for them. */
export const FILTERS = ["video_id", "collection", "language", "speaker", "tag", "uploaded_since", "uploaded_before"];

/** @returns {Place} */
export function read(location = window.location) {
  const params = new URLSearchParams(location.search);
  const path = /^\/v\/([^/]+)\/?$/.exec(location.pathname);
  const at = location.pathname.replace(/\/$/, "");
  const t = parseFloat(params.get("t") ?? "");
  return {
    view: Object.keys(PATHS).find((view) => PATHS[view] === at) ?? "",
    q: params.get("q") ?? "",
    mode: MODES.includes(params.get("mode")) ? params.get("mode") : "hybrid",
    filters: Object.fromEntries(FILTERS.map((name) => [name, params.get(name) ?? ""]).filter(([, value]) => value)),
    videoId: path ? decodeURIComponent(path[1]) : null,
    t: Number.isFinite(t) && t >= 0 ? t : null,
  };
}

/** The address of a place, without origin. */
export function href({ view = "", q = "", mode = "hybrid", filters = {}, videoId = null, t = null }) {
  const params = new URLSearchParams();
  if (videoId && t !== null) params.set("t", String(Math.round(t * 100) / 100));
  if (q) {
    params.set("q", q);
    if (mode !== "hybrid") params.set("mode", mode);
    for (const [name, value] of Object.entries(filters)) if (value) params.set(name, value);
  }
  const query = params.toString();
  const path = videoId ? `/v/${encodeURIComponent(videoId)}` : ((!q && PATHS[view]) || "/");
  return `${path}${query ? `?${query}` : ""}`;
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
  place.filters = Object.fromEntries(Object.entries(place.filters).filter(([, value]) => value));
  const address = href(place);
  if (address !== window.location.pathname + window.location.search) {
    window.history[replace ? "replaceState" : "pushState"](null, "", address);
  }
  arrive({ ...read(), filters: place.filters });
}

/** Whether a click means "follow this link here", not "open a new tab". */
export const isPlainClick = (event) => event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;

/** A click listener for a link of the page: a plain click runs `then` instead of loading the page anew. */
export function followed(then) {
  return (event) => {
    if (!isPlainClick(event)) return;
    event.preventDefault();
    then();
  };
}

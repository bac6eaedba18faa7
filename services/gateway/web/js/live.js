// Keeps the store true while videos are being worked on: event streams for a few of them, polling for the rest.

import * as api from "./api.js";
import * as store from "./store.js";

// A browser opens six connections to one HTTP/1.1 server, over all tabs. Streams hold theirs for minutes, and
// search, the upload and the player need some too.
const STREAMS = 2;
const POLLED = 4;
const BUSY_POLL_MS = 4000;
const IDLE_POLL_MS = 15000;

// A stream that ended is not opened again at once, so that a server in trouble is not hammered.
const REST_MS = 5000;

const streams = new Map();
const resting = new Set();
let wanted = null;

/** Begins to follow. `load()` fetches the first page of the library into the store; it is called now and then. */
export function start(load) {
  store.subscribe(balance);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) [...streams.keys()].forEach(close);
    else load().finally(balance);
  });
  let last = Date.now();
  setInterval(async () => {
    const unwatched = store.all().filter(store.isActive).length > streams.size;
    if (document.hidden || (!unwatched && Date.now() - last < IDLE_POLL_MS)) return;
    last = Date.now();
    await load();
    await Promise.all(unstreamed().slice(0, POLLED).map(look));
  }, BUSY_POLL_MS);
}

// A list tells how far a video is, and not which minutes of it are searchable.
const unstreamed = () => store.all().filter((video) => video.status === "processing" && !streams.has(video.video_id));

async function look({ video_id: id }) {
  try {
    learn(id, await api.getStatus(id));
  } catch {
    // The next poll of the list says what there is to say.
  }
}

/** Takes in a status. The last one is no whole video: its language, its links and what else came of the work are not in it. */
function learn(id, status) {
  store.patch(id, status);
  const video = store.get(id);
  if (video && !store.isActive(video)) refresh(id);
}

/** Prefers the video that is open in the player over others. */
export function prefer(id) {
  wanted = id;
  balance();
}

function balance() {
  if (document.hidden) return;
  // Not those being deleted: there is nothing to say of them but that they are gone, which polling tells.
  const working = store.all().filter((video) => store.isActive(video) && video.status !== "deleting");
  const active = working.map((video) => video.video_id).filter((id) => !resting.has(id));
  const next = [...active.filter((id) => id === wanted), ...active.filter((id) => streams.has(id) && id !== wanted), ...active];
  const keep = new Set([...new Set(next)].slice(0, STREAMS));
  for (const id of streams.keys()) if (!keep.has(id)) close(id);
  for (const id of keep) if (!streams.has(id)) open(id);
}

function open(id) {
  const source = new EventSource(api.eventsUrl(id));
  streams.set(id, source);
  source.addEventListener("status", (event) => learn(id, JSON.parse(event.data)));
  source.addEventListener("end", () => {
    close(id);
    refresh(id);
  });
  source.addEventListener("error", () => {
    // The browser reconnects by itself unless the server refused; then the video is gone, or the next poll tells.
    if (source.readyState === EventSource.CLOSED) {
      close(id);
      refresh(id);
    }
  });
}

function close(id) {
  streams.get(id)?.close();
  streams.delete(id);
}

async function refresh(id) {
  resting.add(id);
  setTimeout(() => {
    resting.delete(id);
    balance();
  }, REST_MS);
  try {
    store.put(await api.getVideo(id));
  } catch (error) {
    if (error.status === 404) store.drop(id);
  }
}

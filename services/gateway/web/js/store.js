// The videos this page knows about. Whoever learns something puts it here; whoever shows it subscribes.

const videos = new Map();
const subscribers = new Set();
const wanted = new Set();
const heard = new Set();
const leaving = new Set();

const tell = (id) => subscribers.forEach((subscriber) => subscriber(id));

/** Calls `subscriber(videoId)` after every change of that video; `get` then gives undefined when it is gone. */
export function subscribe(subscriber) {
  subscribers.add(subscriber);
}

export const get = (id) => (leaving.has(id) ? undefined : videos.get(id));
export const size = () => all().length;

/** Newest first. ULIDs sort by time, so the id settles what the date leaves open. */
export function all() {
  return [...videos.values()]
    .filter((video) => !leaving.has(video.video_id))
    .sort((a, b) => {
      const [x, y] = [a.metadata.uploaded_at ?? "", b.metadata.uploaded_at ?? ""];
      return x === y ? (a.video_id < b.video_id ? 1 : -1) : x < y ? 1 : -1;
    });
}

/** Takes in a whole Video, unless a newer revision of it is known already. */
export function put(video) {
  const known = videos.get(video.video_id);
  if (known && known.revision > video.revision) return;
  videos.set(video.video_id, { ...known, ...video });
  tell(video.video_id);
}

/** Takes in a status message (a part of a Video). */
export function patch(id, { status, progress, error, warnings, duration, slices, playable }) {
  const known = videos.get(id);
  if (!known) return;
  videos.set(id, { ...known, status, progress, error, warnings: warnings ?? [], duration: duration ?? known.duration, slices, playable });
  tell(id);
}

export function drop(id) {
  leaving.delete(id);
  if (videos.delete(id)) tell(id);
}

/** Takes a video out of sight while it is being deleted, or, with `false`, back in. */
export function hide(id, yes) {
  if (yes) leaving.add(id);
  else leaving.delete(id);
  tell(id);
}

/** Fetches a video unless it is here or on its way; a video that can't be had is left out. */
export async function need(id, fetchVideo) {
  if (videos.has(id) || wanted.has(id)) return;
  wanted.add(id);
  try {
    put(await fetchVideo(id));
  } catch {
    // What asks for it does with what the search told; the next answer tries again.
    wanted.delete(id);
  }
}

/** Remembers who speaks, to offer them as a filter. */
export function hear(speakers) {
  for (const speaker of speakers) if (speaker) heard.add(speaker);
}

export const speakers = () => [...heard].sort((a, b) => a.localeCompare(b));

export const isActive = (video) => ["uploaded", "processing", "deleting"].includes(video.status);

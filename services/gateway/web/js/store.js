// The videos this page knows about. Whoever learns something puts it here; whoever shows it subscribes.

const videos = new Map();
const subscribers = new Set();

const tell = (id) => subscribers.forEach((subscriber) => subscriber(id));

/** Calls `subscriber(videoId)` after every change of that video; `get` then gives undefined when it is gone. */
export function subscribe(subscriber) {
  subscribers.add(subscriber);
}

export const get = (id) => videos.get(id);
export const size = () => videos.size;

/** Newest first. ULIDs sort by time, so the id settles what the date leaves open. */
export function all() {
  return [...videos.values()].sort((a, b) => {
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
export function patch(id, { status, progress, error, warnings, duration, slices }) {
  const known = videos.get(id);
  if (!known) return;
  videos.set(id, { ...known, status, progress, error, warnings: warnings ?? [], duration: duration ?? known.duration, slices });
  tell(id);
}

export function drop(id) {
  if (videos.delete(id)) tell(id);
}

export const isActive = (video) => ["uploaded", "processing", "deleting"].includes(video.status);

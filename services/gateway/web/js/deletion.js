// Deleting, with a way back for a while: the server keeps what is deleted until `restorable_until`.

import * as api from "./api.js";
import { announce } from "./dom.js";
import * as store from "./store.js";
import { toast } from "./toast.js";

// An offer that stays longer is in the way; the API can still bring the video back.
const OFFERED_SECONDS = 20;

let undoLast = null;

/** How long a way back is offered; 0 where there is none. */
function offered({ restorable_until: until }) {
  const left = (Date.parse(until ?? "") - Date.now()) / 1000;
  return Number.isFinite(left) ? Math.max(0, Math.min(OFFERED_SECONDS, left)) : 0;
}

/**
 * Deletes a video, and offers to take that back.
 *
 * @param {string} id
 * @param {(message: string) => void} onError  it is in sight again, and says why
 */
export async function deleteWithUndo(id, onError) {
  const title = store.get(id)?.title ?? "The video";
  store.hide(id, true);
  let deleted;
  try {
    deleted = await api.deleteVideo(id);
  } catch (error) {
    if (error.status === 404) return store.drop(id);
    store.hide(id, false);
    return onError(error.message);
  }
  const seconds = offered(deleted);
  const told = `“${title}” is deleted.`;
  if (!seconds) return void toast(told);

  async function undo() {
    end();
    try {
      store.put(await api.restoreVideo(id));
      store.hide(id, false);
      announce(`${title} is back.`);
    } catch (error) {
      toast(error.message);
    }
  }
  const shown = toast(told, { action: { label: "Undo", run: undo }, seconds, onClose: () => end() });
  undoLast = undo;

  function end() {
    if (undoLast === undo) undoLast = null;
    shown.close();
  }
  return undefined;
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.target.matches("input, textarea")) return;
  if (!undoLast) return;
  event.preventDefault();
  undoLast();
});

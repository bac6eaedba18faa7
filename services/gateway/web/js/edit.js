// The dialog that changes a video's title, collection and tags.

import * as api from "./api.js";
import { announce, byId, el, setText } from "./dom.js";
import * as store from "./store.js";

/** "bread, baking" -> ["bread", "baking"], each once. */
export const tagsOf = (text) => [...new Set(text.split(",").map((tag) => tag.trim()).filter(Boolean))];

/** Fills the lists of collections and tags that fields suggest. */
export function suggestKnown() {
  const fill = (id, values) => byId(id).replaceChildren(...[...new Set(values.filter(Boolean))].sort().map((value) => el("option", { value })));
  fill("known-collections", store.all().map((video) => video.collection));
  fill("known-tags", store.all().flatMap((video) => video.tags ?? []));
}

export function createEdit() {
  const dialog = byId("edit-dialog");
  const form = byId("edit-form");
  const problem = byId("edit-error");
  const { title, collection, tags } = form.elements;
  let id = null;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const before = store.get(id);
    const changes = {};
    if (title.value.trim() !== before.title) changes.title = title.value.trim();
    if (collection.value.trim() !== (before.collection ?? "")) changes.collection = collection.value.trim();
    if (tagsOf(tags.value).join() !== (before.tags ?? []).join()) changes.tags = tagsOf(tags.value);
    if (!Object.keys(changes).length) return dialog.close();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    try {
      store.put(await api.changeVideo(id, changes));
      announce("Saved.");
      dialog.close();
    } catch (error) {
      setText(problem, error.message);
    } finally {
      button.disabled = false;
    }
    return undefined;
  });

  return {
    open(videoId) {
      const video = store.get(videoId);
      if (!video) return;
      id = videoId;
      title.value = video.title;
      collection.value = video.collection ?? "";
      tags.value = (video.tags ?? []).join(", ");
      setText(problem, "");
      suggestKnown();
      dialog.showModal();
      title.select();
    },
  };
}

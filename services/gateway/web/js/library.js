// The list of videos: all there are, sifted and sorted as somebody likes.

import * as api from "./api.js";
import { createCard } from "./card.js";
import { deleteWithUndo } from "./deletion.js";
import { byId, el, notice, setText } from "./dom.js";
import { createEdit } from "./edit.js";
import { plural } from "./format.js";
import * as store from "./store.js";

const PAGE = 50;

const ORDERS = {
  newest: () => 0, // as the store gives them
  title: (a, b) => a.title.localeCompare(b.title, undefined, { numeric: true }),
  longest: (a, b) => (b.duration ?? 0) - (a.duration ?? 0),
};

const STATES = {
  "": () => true,
  ready: (video) => video.status === "ready",
  working: store.isActive,
  failed: (video) => video.status === "failed",
};

/**
 * @param {Object} handlers
 * @param {(videoId: string) => void} handlers.onOpen
 * @param {() => void} handlers.onLoaded  the videos came for the first time: whoever is here may look
 */
export function createLibrary({ onOpen, onLoaded }) {
  const list = byId("videos");
  const more = byId("more-videos");
  const sift = byId("sift").elements;
  const cards = new Map();
  const edit = createEdit();
  let cursor = null;
  let loaded = false;
  let current = null;

  const make = (id) =>
    createCard(id, {
      onOpen: () => onOpen(id),
      onEdit: () => edit.open(id),
      onDelete: () => deleteWithUndo(id, (message) => cards.get(id)?.fail(message)),
    });

  /** The videos that are wanted, in the order that is wanted. */
  function wanted() {
    const words = sift.words.value.trim().toLocaleLowerCase();
    const fits = (video) => !words || [video.title, video.collection ?? "", ...(video.tags ?? [])].some((text) => text.toLocaleLowerCase().includes(words));
    const { value: collection } = sift.collection;
    return store
      .all()
      .filter((video) => fits(video) && STATES[sift.state.value](video) && (!collection || video.collection === collection))
      .sort(ORDERS[sift.order.value]);
  }

  function arrange() {
    const videos = wanted();
    const nodes = videos.map(({ video_id: id }) => cards.get(id).node);
    const there = new Set(nodes);
    for (const node of [...list.children]) if (!there.has(node)) node.remove();
    let at = list.firstElementChild;
    for (const node of nodes) {
      if (node === at) at = at.nextElementSibling;
      else list.insertBefore(node, at);
    }
    const all = store.size();
    setText(byId("library-count"), !all ? "" : videos.length < all ? `${videos.length} of ${plural(all, "video")}` : plural(all, "video") + (cursor ? " shown" : ""));
    byId("no-videos").hidden = videos.length > 0 || !all;
    byId("welcome").hidden = !loaded || all > 0;
    byId("library").classList.toggle("empty", loaded && all === 0);
    collections();
  }

  function collections() {
    const there = [...new Set(store.all().map((video) => video.collection).filter(Boolean))].sort();
    const { value } = sift.collection;
    if (there.join() === [...sift.collection.options].slice(1).map((option) => option.value).join()) return;
    sift.collection.replaceChildren(el("option", { value: "" }, "All collections"), ...there.map((name) => el("option", { value: name }, name)));
    sift.collection.value = there.includes(value) ? value : "";
    sift.collection.closest("label").hidden = !there.length;
  }

  let due = 0;
  /** Arranges once for many changes. */
  function soon() {
    due ||= requestAnimationFrame(() => {
      due = 0;
      arrange();
    });
  }

  store.subscribe((id) => {
    const video = store.get(id);
    if (video) {
      if (!cards.has(id)) cards.set(id, make(id));
      const { node, update } = cards.get(id);
      node.toggleAttribute("data-current", id === current);
      update(video);
    } else if (cards.has(id)) {
      const { node } = cards.get(id);
      cards.delete(id);
      const next = node.nextElementSibling ?? node.previousElementSibling;
      const focused = node.contains(document.activeElement);
      node.remove();
      if (focused) (next?.querySelector("a.cover") ?? byId("column")).focus({ preventScroll: true });
    }
    soon();
  });

  byId("sift").addEventListener("submit", (event) => event.preventDefault());
  byId("sift").addEventListener("input", async () => {
    soon();
    // What is not fetched yet can't be sifted.
    while (cursor && sift.words.value.trim()) if (!(await further())) break;
  });

  async function page(from) {
    const answer = await api.listVideos({ limit: PAGE, cursor: from });
    answer.videos.forEach(store.put);
    return answer;
  }

  async function dropIfGone(id) {
    try {
      await api.getVideo(id);
    } catch (error) {
      if (error.status === 404) store.drop(id);
    }
  }

  /** Fetches the next page; gives whether that worked. */
  async function further() {
    more.disabled = true;
    try {
      cursor = (await page(cursor)).next_cursor;
      more.hidden = !cursor;
      soon();
      return true;
    } catch (error) {
      byId("library-notice").replaceChildren(notice({ text: error.message, kind: "error" }));
      return false;
    } finally {
      more.disabled = false;
    }
  }
  more.addEventListener("click", further);

  return {
    /** Fetches the newest page; called at start and now and then, to see what others added or removed. */
    async load() {
      // What an upload adds while the answer is on its way is missing from it, and not gone.
      const before = store.all();
      try {
        const answer = await page("");
        if (!loaded) {
          cursor = answer.next_cursor;
          more.hidden = !cursor;
        }
        const there = new Set(answer.videos.map((video) => video.video_id));
        const absent = before.filter((video) => !there.has(video.video_id));
        // When the whole library fits one page, what is not on it is gone. Else only what was being deleted is asked for.
        if (!answer.next_cursor) absent.forEach((video) => store.drop(video.video_id));
        else await Promise.all(absent.filter((video) => video.status === "deleting").map((video) => dropIfGone(video.video_id)));
        byId("library-notice").replaceChildren();
        if (!loaded) onLoaded();
        loaded = true;
      } catch (error) {
        byId("library-notice").replaceChildren(notice({ text: error.message, kind: "error", action: { label: "Try again", run: () => this.load() } }));
      }
      soon();
    },
    setCurrent(id) {
      current = id;
      for (const [key, { node }] of cards) node.toggleAttribute("data-current", key === id);
    },
  };
}

// The list of videos: what each is, how far it is, what went wrong with it and what can be done about it.

import * as api from "./api.js";
import { announce, byId, el, icon, notice, setText } from "./dom.js";
import { clock, day, language, plural, roughly, sentence } from "./format.js";
import * as route from "./route.js";
import * as store from "./store.js";

const PAGE = 50;

/** How a video stands, in words; "" when there is nothing to say. */
function standing({ status, progress, warnings, error, links }) {
  switch (status) {
    case "uploaded":
      return "Waiting its turn";
    case "processing": {
      if (!progress.slices_done && links.media === null) return "Being made searchable";
      if (!progress.slices_known) return "Listening for speech";
      if (!progress.slices_done) return progress.slicing_done ? `Writing down ${plural(progress.slices_known, "part")}` : "Writing down what is said";
      const parts = progress.slicing_done ? `${progress.slices_done} of ${plural(progress.slices_known, "part")} done` : `${plural(progress.slices_done, "part")} done so far`;
      const ready = progress.seconds_searchable > 0 ? ` · ${roughly(progress.seconds_searchable)} searchable already` : "";
      const left = Number.isFinite(progress.seconds_left) ? ` · about ${roughly(progress.seconds_left)} left` : "";
      return `${parts}${ready}${left}`;
    }
    case "deleting":
      return "Being deleted";
    case "failed":
      return sentence(error?.message || "Something went wrong");
    default:
      return warnings.map((warning) => sentence(warning.message)).join(" ");
  }
}

/**
 * @param {(videoId: string) => void} onOpen
 */
export function createLibrary({ onOpen }) {
  const list = byId("videos");
  const more = byId("more-videos");
  const rows = new Map();
  let cursor = null;
  let loaded = false;
  let current = null;

  function row(id) {
    const follow = (event) => {
      if (!route.isPlainClick(event)) return;
      event.preventDefault();
      onOpen(id);
    };
    const title = el("a", { class: "cover", href: route.href({ videoId: id }), on: { click: follow } });
    const facts = el("p", { class: "facts" });
    const state = el("p", { class: "state" });
    const bar = el("progress", { max: 1 });
    const retry = el("button", { type: "button", class: "button plain", on: { click: () => act(retry, () => api.retryVideo(id).then(store.put)) } }, icon("retry"), el("span", {}, "Retry"));
    const remove = el("button", { type: "button", class: "quiet round", on: { click: () => confirmDelete(id) } }, icon("trash"));
    const failed = el("div", {});
    const node = el("li", { class: "video" }, el("div", { class: "video-main" }, el("h3", {}, title), facts, state, bar, failed), el("div", { class: "video-actions" }, retry, remove));

    async function act(button, run) {
      button.disabled = true;
      try {
        await run();
        failed.replaceChildren();
      } catch (error) {
        failed.replaceChildren(notice({ text: error.message, kind: "error" }));
      } finally {
        button.disabled = false;
      }
    }

    function update(video) {
      const before = node.dataset.status;
      node.dataset.status = video.status;
      node.toggleAttribute("data-current", id === current);
      setText(title, video.title);
      const { metadata, duration } = video;
      setText(facts, [duration && clock(duration), language(metadata.language), day(metadata.uploaded_at)].filter(Boolean).join(" · "));
      setText(state, standing(video));
      state.hidden = !state.textContent;
      bar.hidden = !["uploaded", "processing"].includes(video.status);
      bar.setAttribute("aria-label", `${video.title}: done so far`);
      const { fraction } = video.progress;
      // While the cutting goes on the total is not known, and a fraction of what is known would run backwards.
      if (video.status === "processing" && fraction !== null && video.progress.slicing_done) bar.value = fraction;
      else bar.removeAttribute("value");
      retry.hidden = video.status !== "failed";
      retry.setAttribute("aria-label", `Retry ${video.title}`);
      remove.hidden = video.status === "deleting";
      remove.setAttribute("aria-label", `Delete ${video.title}`);
      if (before && before !== video.status && video.status === "ready") announce(`${video.title} can be searched now.`);
      if (before && before !== video.status && video.status === "failed") announce(`${video.title} failed. ${standing(video)}`);
    }

    return { node, update, remove: () => act(remove, () => api.deleteVideo(id).then(store.put)) };
  }

  const dialog = byId("delete-dialog");
  let doomed = null;
  function confirmDelete(id) {
    doomed = id;
    setText(byId("delete-text"), `“${store.get(id)?.title}” goes with its transcript and everything found in it. This can’t be undone.`);
    dialog.showModal();
  }
  byId("delete-confirm").addEventListener("click", () => {
    dialog.close();
    rows.get(doomed)?.remove();
  });

  function order() {
    let at = list.firstElementChild;
    for (const video of store.all()) {
      const { node } = rows.get(video.video_id);
      if (node === at) at = at.nextElementSibling;
      else list.insertBefore(node, at);
    }
  }

  function welcome() {
    byId("welcome").hidden = !loaded || store.size() > 0;
    byId("library").classList.toggle("empty", loaded && store.size() === 0);
  }

  store.subscribe((id) => {
    const video = store.get(id);
    if (!video) {
      const gone = rows.get(id);
      rows.delete(id);
      if (gone?.node.contains(document.activeElement)) byId("column").focus();
      gone?.node.remove();
    } else {
      if (!rows.has(id)) {
        rows.set(id, row(id));
        order();
      }
      rows.get(id).update(video);
    }
    welcome();
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

  more.addEventListener("click", async () => {
    more.disabled = true;
    try {
      cursor = (await page(cursor)).next_cursor;
      more.hidden = !cursor;
    } catch (error) {
      byId("library-notice").replaceChildren(notice({ text: error.message, kind: "error" }));
    } finally {
      more.disabled = false;
    }
  });

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
        loaded = true;
        byId("library-notice").replaceChildren();
      } catch (error) {
        byId("library-notice").replaceChildren(notice({ text: error.message, kind: "error", action: { label: "Try again", run: () => this.load() } }));
      }
      welcome();
    },
    setCurrent(id) {
      current = id;
      for (const [key, { node }] of rows) node.toggleAttribute("data-current", key === id);
    },
  };
}

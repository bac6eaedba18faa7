// A video in the library: what it is, how far it is, what went wrong with it and what can be done about it.

import * as api from "./api.js";
import { announce, el, icon, notice, setText } from "./dom.js";
import { clock, day, language } from "./format.js";
import { createPicture } from "./picture.js";
import * as route from "./route.js";
import { createSlices } from "./slices.js";
import { retryable, standing } from "./standing.js";
import * as store from "./store.js";

// A title card or a black frame often stands at the very start.
const PICTURE_AT = 0.1;

/**
 * @param {string} id
 * @param {{onOpen: () => void, onEdit: () => void, onDelete: () => void}} handlers
 */
export function createCard(id, { onOpen, onEdit, onDelete }) {
  const picture = createPicture(480);
  const length = el("span", { class: "badge" });
  const title = el("a", { class: "cover", href: route.href({ videoId: id }), on: { click: route.followed(onOpen) } });
  const facts = el("p", { class: "facts" });
  const tags = el("ul", { class: "tags", "aria-label": "Tags" });
  const state = el("p", { class: "state" });
  const slices = createSlices();
  const failed = el("div", {});
  const retry = el("button", { type: "button", class: "button plain small", on: { click: () => act(retry, () => api.retryVideo(id).then(store.put)) } }, icon("retry"), el("span", {}, "Retry"));
  const edit = el("button", { type: "button", class: "quiet round", title: "Title, collection, tags", on: { click: onEdit } }, icon("edit"));
  const remove = el("button", { type: "button", class: "quiet round", title: "Delete", on: { click: onDelete } }, icon("trash"));
  const node = el(
    "li",
    { class: "video", data: { videoId: id } },
    el("div", { class: "shot" }, picture.node, length, slices.node),
    el("div", { class: "video-main" }, el("h3", {}, title), facts, tags, state, retry, failed),
    el("div", { class: "video-actions" }, edit, remove),
  );

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

  return {
    node,
    update(video) {
      const before = node.dataset.status;
      const { status, metadata, duration } = video;
      node.dataset.status = status;
      setText(title, video.title);
      setText(length, duration ? clock(duration) : "");
      setText(facts, [language(metadata.language), day(metadata.uploaded_at), video.collection].filter(Boolean).join(" · "));
      tags.replaceChildren(...(video.tags ?? []).map((tag) => el("li", {}, tag)));
      setText(state, standing(video));
      state.hidden = !state.textContent;
      picture.show(id, (duration ?? 0) * PICTURE_AT);
      slices.node.hidden = !["uploaded", "processing"].includes(status);
      if (!slices.node.hidden) slices.show(video);
      retry.hidden = !retryable(video);
      retry.setAttribute("aria-label", `Retry ${video.title}`);
      edit.hidden = remove.hidden = status === "deleting";
      edit.setAttribute("aria-label", `Edit ${video.title}`);
      remove.setAttribute("aria-label", `Delete ${video.title}`);
      if (before && before !== status && status === "ready") announce(`${video.title} can be searched now.`);
      if (before && before !== status && status === "failed") announce(`${video.title} failed. ${standing(video)}`);
    },
    fail: (message) => failed.replaceChildren(notice({ text: message, kind: "error" })),
  };
}

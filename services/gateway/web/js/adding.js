// The ways in: the dialog, the picker, a drop anywhere on the page, a pasted link.

import * as api from "./api.js";
import { announce, byId, setText } from "./dom.js";
import { suggestKnown, tagsOf } from "./edit.js";
import { prepare } from "./resumable.js";
import * as store from "./store.js";

/** @param {{add: (files: File[], details: Object) => void}} uploads */
export function connectAdding(uploads) {
  const dialog = byId("add-dialog");
  const picker = byId("files");
  const url = byId("url");
  const problem = byId("url-error");
  const veil = byId("veil");
  const { collection, tags, language } = byId("add-details").elements;

  /** What is said in the dialog of all that is added now. */
  const details = () => ({
    collection: collection.value.trim(),
    tags: tagsOf(tags.value),
    language: language.value.trim().toLowerCase(),
  });
  const asMetadata = ({ tags: list, ...others }) => Object.fromEntries(Object.entries({ ...others, tags: list.join(",") }).filter(([, value]) => value));

  const open = () => {
    setText(problem, "");
    suggestKnown();
    dialog.showModal();
    prepare().catch(() => {}); // told when a file is sent
  };
  byId("add").addEventListener("click", open);
  for (const button of document.querySelectorAll("[data-add]"))
    button.addEventListener("click", () => {
      open();
      url.focus();
    });
  for (const button of document.querySelectorAll("[data-pick]")) button.addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    uploads.add([...picker.files], asMetadata(details()));
    picker.value = "";
    dialog.close();
  });
  byId("add-details").addEventListener("submit", (event) => event.preventDefault());

  byId("url-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("button");
    setText(problem, "");
    const text = url.value.trim();
    if (!text) return;
    url.removeAttribute("aria-invalid");
    button.disabled = true;
    try {
      const video = await api.addVideo({ url: text, ...details() });
      store.put(video);
      announce(`${video.title} is being fetched.`);
      url.value = "";
      dialog.close();
    } catch (error) {
      url.setAttribute("aria-invalid", "true");
      setText(problem, error.message);
    } finally {
      button.disabled = false;
    }
  });

  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0;
  const lower = () => {
    depth = 0;
    veil.hidden = true;
    dialog.removeAttribute("data-drop");
  };
  window.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = dialog.open; // the dialog has its own drop zone
    dialog.toggleAttribute("data-drop", dialog.open);
  });
  window.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth -= 1;
    if (depth <= 0) lower();
  });
  window.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  window.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    lower();
    const chosen = dialog.open ? asMetadata(details()) : {};
    if (dialog.open) dialog.close();
    uploads.add([...event.dataTransfer.files], chosen);
  });
}

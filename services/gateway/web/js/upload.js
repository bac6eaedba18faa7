// Adding videos: files by drop or picker, one after the other, and links.

import * as api from "./api.js";
import { announce, byId, el, icon, setText } from "./dom.js";
import { plural, titleOf, transfer } from "./format.js";
import * as store from "./store.js";

// Speed is what the last seconds carried: quick to follow a change, calm enough to read.
const WINDOW_MS = 4000;
const LINGER_MS = 4000;

export function createUploads() {
  const tray = byId("tray");
  const list = byId("uploads");
  const queue = [];
  let running = null;

  window.addEventListener("beforeunload", (event) => {
    if (running) event.preventDefault();
  });

  function refresh() {
    const states = [...list.children].map((node) => node.dataset.state);
    const left = states.filter((state) => state === "waiting" || state === "running").length;
    const failed = states.filter((state) => state === "failed").length;
    tray.hidden = states.length === 0;
    byId("tray-close").hidden = left > 0;
    setText(byId("tray-title"), left ? `Uploading ${plural(left, "file")}` : failed ? `${plural(failed, "file")} did not upload` : "Uploaded");
  }

  function job(file) {
    const line = el("p", { class: "facts" });
    const bar = el("progress", { max: 1, "aria-label": `Upload of ${file.name}` });
    const cancel = el("button", { type: "button", class: "quiet round", "aria-label": `Cancel ${file.name}` }, icon("close"));
    const retry = el("button", { type: "button", class: "button plain", hidden: true, "aria-label": `Try ${file.name} again` }, "Try again");
    const node = el("li", { class: "upload" }, el("div", { class: "upload-head" }, el("p", { class: "name" }, file.name), retry, cancel), bar, line);
    const mine = { file, node, stop: null };

    mine.set = (state, text) => {
      node.dataset.state = state;
      bar.hidden = state === "failed" || state === "done";
      retry.hidden = state !== "failed" || file.size === 0;
      cancel.setAttribute("aria-label", state === "failed" ? `Dismiss ${file.name}` : `Cancel ${file.name}`);
      cancel.hidden = state === "done";
      setText(line, text);
      refresh();
    };
    mine.progress = (loaded, total, speed) => {
      if (loaded >= total) {
        bar.removeAttribute("value");
        return setText(line, "Sent; being stored");
      }
      bar.value = loaded / total;
      return setText(line, transfer(loaded, total, speed));
    };
    mine.remove = () => {
      node.remove();
      refresh();
    };
    cancel.addEventListener("click", () => {
      const at = queue.indexOf(mine);
      if (at >= 0) queue.splice(at, 1);
      mine.stop?.();
      mine.remove();
    });
    retry.addEventListener("click", () => enqueue(mine));
    return mine;
  }

  function enqueue(mine) {
    bar(mine);
    mine.set("waiting", "Waiting");
    queue.push(mine);
    next();
  }

  const bar = (mine) => {
    mine.node.querySelector("progress").value = 0;
  };

  // One at a time: the first file is complete, and being transcribed, while the others are still on their way.
  async function next() {
    if (running || !queue.length) return;
    const mine = queue.shift();
    running = mine;
    mine.set("running", "Starting");
    const samples = [];
    const { done, cancel } = api.upload(mine.file, titleOf(mine.file.name), (loaded, total) => {
      const now = performance.now();
      samples.push({ now, loaded });
      while (samples.length > 2 && now - samples[0].now > WINDOW_MS) samples.shift();
      const seconds = (now - samples[0].now) / 1000;
      mine.progress(loaded, total, seconds > 0.5 ? (loaded - samples[0].loaded) / seconds : 0);
    });
    mine.stop = cancel;
    try {
      store.put(await done);
      mine.set("done", "Uploaded; now being transcribed");
      announce(`${mine.file.name} is uploaded.`);
      setTimeout(mine.remove, LINGER_MS);
    } catch (error) {
      if (error.name !== "AbortError") {
        mine.set("failed", error.message);
        announce(`${mine.file.name} did not upload. ${error.message}`);
      }
    } finally {
      mine.stop = null;
      running = null;
      refresh();
      next();
    }
  }

  byId("tray-close").addEventListener("click", () => {
    for (const node of [...list.children]) if (["failed", "done"].includes(node.dataset.state)) node.remove();
    refresh();
  });

  return {
    /** @param {File[]} files */
    add(files) {
      for (const file of files) {
        const mine = job(file);
        list.append(mine.node);
        if (file.size === 0) mine.set("failed", "This is an empty file or a folder. Open a folder and add the files in it.");
        else enqueue(mine);
      }
    },
  };
}

/** The ways in: the dialog, the picker, a drop anywhere on the page, a pasted link. */
export function connectAdding(uploads) {
  const dialog = byId("add-dialog");
  const picker = byId("files");
  const url = byId("url");
  const problem = byId("url-error");
  const veil = byId("veil");

  const open = () => {
    setText(problem, "");
    dialog.showModal();
  };
  byId("add").addEventListener("click", open);
  for (const button of document.querySelectorAll("[data-add]"))
    button.addEventListener("click", () => {
      open();
      url.focus();
    });
  for (const button of document.querySelectorAll("[data-pick]")) button.addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => {
    uploads.add([...picker.files]);
    picker.value = "";
    dialog.close();
  });

  byId("url-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.target.querySelector("button");
    setText(problem, "");
    const text = url.value.trim();
    if (!text) return;
    url.removeAttribute("aria-invalid");
    button.disabled = true;
    try {
      const video = await api.addUrl(text);
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
    if (depth <= 0) {
      lower();
      dialog.removeAttribute("data-drop");
    }
  });
  window.addEventListener("dragover", (event) => {
    if (carriesFiles(event)) event.preventDefault();
  });
  window.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    lower();
    dialog.removeAttribute("data-drop");
    if (dialog.open) dialog.close();
    uploads.add([...event.dataTransfer.files]);
  });
}

// The files on their way, one after the other, and how each stands.

import * as api from "./api.js";
import { announce, byId, el, icon, setText } from "./dom.js";
import { plural, transfer } from "./format.js";
import { send } from "./resumable.js";
import * as route from "./route.js";
import * as store from "./store.js";
import { goesOn } from "./unfinished.js";

// Speed is what the last seconds carried: quick to follow a change, calm enough to read.
const WINDOW_MS = 4000;
const LINGER_MS = 6000;
const OPEN_STATES = ["waiting", "running", "paused", "stalled"];

/** Bytes per second over the last seconds; 0 while there is too little to tell from. */
function createSpeed() {
  let samples = [];
  return {
    add(loaded) {
      const now = performance.now();
      samples.push({ now, loaded });
      while (samples.length > 2 && now - samples[0].now > WINDOW_MS) samples.shift();
      const seconds = (now - samples[0].now) / 1000;
      return seconds > 0.5 ? Math.max(0, loaded - samples[0].loaded) / seconds : 0;
    },
    forget() {
      samples = [];
    },
  };
}

export function createUploads() {
  const tray = byId("tray");
  const list = byId("uploads");
  const queue = [];
  let running = null;

  window.addEventListener("beforeunload", (event) => {
    if ([...list.children].some((node) => OPEN_STATES.includes(node.dataset.state))) event.preventDefault();
  });

  function refresh() {
    const states = [...list.children].map((node) => node.dataset.state);
    const left = states.filter((state) => OPEN_STATES.includes(state)).length;
    const failed = states.filter((state) => state === "failed").length;
    tray.hidden = states.length === 0;
    byId("tray-close").hidden = left > 0;
    setText(byId("tray-title"), left ? `Uploading ${plural(left, "file")}` : failed ? `${plural(failed, "file")} did not upload` : "Uploaded");
  }

  function job(file, metadata) {
    const line = el("p", { class: "facts" });
    const bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    const cancel = el("button", { type: "button", class: "quiet round" }, icon("close"));
    const hold = el("button", { type: "button", class: "quiet round" }, icon("pause"));
    const retry = el("button", { type: "button", class: "button plain small", "aria-label": `Try ${file.name} again` }, "Try again");
    const node = el("li", { class: "upload" }, el("div", { class: "upload-head" }, el("p", { class: "name" }, file.name), retry, hold, cancel), bar, line);
    const mine = { file, metadata, node, sending: null, speed: createSpeed() };

    mine.set = (state, text, ...more) => {
      node.dataset.state = state;
      bar.hidden = state === "failed" || state === "done";
      retry.hidden = state !== "failed" || file.size === 0;
      hold.hidden = !["running", "paused", "stalled"].includes(state);
      hold.setAttribute("aria-label", state === "paused" ? `Go on with ${file.name}` : `Pause ${file.name}`);
      hold.querySelector("use").setAttribute("href", state === "paused" ? "#i-play" : "#i-pause");
      cancel.setAttribute("aria-label", state === "failed" ? `Dismiss ${file.name}` : `Cancel ${file.name}`);
      cancel.hidden = state === "done";
      if (more.length || line.childElementCount) line.replaceChildren(text, ...more);
      else setText(line, text);
      refresh();
    };
    mine.progress = (loaded, total) => {
      if (node.dataset.state === "paused") return;
      const speed = mine.speed.add(loaded);
      if (loaded >= total) {
        bar.removeAttribute("value");
        mine.set("running", "Sent; being stored");
      } else {
        bar.value = loaded / total;
        mine.set("running", transfer(loaded, total, speed));
      }
    };
    mine.remove = () => {
      if (node.contains(document.activeElement)) byId("column").focus({ preventScroll: true });
      node.remove();
      refresh();
    };
    cancel.addEventListener("click", () => {
      const at = queue.indexOf(mine);
      if (at >= 0) queue.splice(at, 1);
      mine.sending?.cancel();
      mine.remove();
    });
    hold.addEventListener("click", () => {
      mine.speed.forget();
      if (node.dataset.state === "paused") {
        mine.set("running", "Going on");
        mine.sending?.resume();
      } else {
        mine.sending?.pause();
        mine.set("paused", `Paused at ${Math.floor(bar.value * 100)} %`);
        if (running === mine) running = null; // the others need not wait
        next();
      }
    });
    retry.addEventListener("click", () => enqueue(mine));
    return mine;
  }

  function enqueue(mine) {
    mine.set("waiting", "Waiting");
    queue.push(mine);
    next();
  }

  /** Shows the video that a file has become. */
  async function arrived(mine, { videoId, existing }) {
    const { name } = mine.file;
    let video = null;
    try {
      video = await api.getVideo(videoId);
      store.put(video);
    } catch {
      // It is there all the same: the next look at the library has it.
    }
    if (!existing || !video) {
      mine.set("done", "Uploaded; now being transcribed");
      announce(`${name} is uploaded.`);
      setTimeout(mine.remove, LINGER_MS);
      return;
    }
    const link = el("a", { class: "as-link", href: route.href({ videoId }), on: { click: route.followed(() => route.go({ videoId, t: null })) } }, video.title);
    const again = () => {
      mine.metadata = { ...mine.metadata, duplicate: "allow" };
      enqueue(mine);
    };
    mine.set("done", "In the library already: ", link, ". ", el("button", { type: "button", class: "as-link", on: { click: again } }, "Add it all the same"));
    announce(`${name} is in the library already, as ${video.title}.`);
  }

  // One at a time: the first file is complete, and being transcribed, while the others are still on their way.
  async function next() {
    if (running || !queue.length) return;
    const mine = queue.shift();
    running = mine;
    mine.set("running", "Starting");
    mine.speed.forget();
    mine.sending = send(mine.file, mine.metadata, {
      onProgress: mine.progress,
      onStalled: () => {
        mine.speed.forget();
        mine.set("stalled", "The connection is gone; it goes on by itself as soon as it is back");
      },
      onResumed: (name) => {
        goesOn(name);
        mine.set("running", "Going on where it was cut");
      },
    });
    try {
      await arrived(mine, await mine.sending.done);
    } catch (error) {
      if (error.name !== "AbortError") {
        mine.set("failed", error.message);
        announce(`${mine.file.name} did not upload. ${error.message}`);
      }
    } finally {
      mine.sending = null;
      if (running === mine) running = null;
      refresh();
      next();
    }
  }

  byId("tray-close").addEventListener("click", () => {
    for (const node of [...list.children]) if (["failed", "done"].includes(node.dataset.state)) node.remove();
    refresh();
  });

  return {
    /**
     * @param {File[]} files
     * @param {Object<string, string>} details  collection, tags and language for all of them; the gateway makes titles of their names
     */
    add(files, details = {}) {
      for (const file of files) {
        const mine = job(file, details);
        list.append(mine.node);
        if (file.size === 0) mine.set("failed", "This is an empty file or a folder. Open a folder and add the files in it.");
        else enqueue(mine);
      }
    },
  };
}

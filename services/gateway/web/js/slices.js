// Which minutes of a video can be searched already: its slices along its length.

import { el } from "./dom.js";
import { clock, roughly } from "./format.js";

const WORDS = { indexed: "searchable", embedded: "nearly searchable", transcribed: "written down", cut: "waiting", failed: "failed" };

/**
 * @param {Object} video  with `slices` where they are known
 * @returns {{from: number, to: number, state: string}[]}  shares of the length, neighbours of one state joined
 */
export function stretches({ slices = [], duration, progress }) {
  const end = Math.max(duration ?? 0, progress?.seconds_known ?? 0, ...slices.map((slice) => slice.end_time));
  if (!end) return [];
  const joined = [];
  for (const { start_time: start, end_time: stop, state } of [...slices].sort((a, b) => a.start_time - b.start_time)) {
    const last = joined.at(-1);
    // What lies between two slices is silence: nothing is missing there.
    if (last && last.state === state) last.to = stop / end;
    else joined.push({ from: last ? last.to : start / end, to: stop / end, state });
  }
  return joined;
}

/** @returns {{node: HTMLElement, show: (video: Object) => void}} */
export function createSlices() {
  const node = el("div", { class: "slices", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
  return {
    node,
    show(video) {
      const { progress, duration, title, slices = [] } = video;
      const parts = stretches(video);
      node.replaceChildren(
        ...parts.map(({ from, to, state }) => {
          const part = el("span", { class: `slice ${state}`, title: WORDS[state] });
          part.style.left = `${from * 100}%`;
          part.style.width = `${Math.max(0.6, (to - from) * 100)}%`;
          return part;
        }),
      );
      const total = duration ?? (progress.slicing_done ? progress.seconds_known : 0);
      const ready = slices.filter((slice) => slice.state === "indexed").map((slice) => `${clock(slice.start_time)} to ${clock(slice.end_time)}`);
      node.toggleAttribute("data-unknown", !parts.length);
      node.setAttribute("aria-label", `${title}: how much of it can be searched`);
      if (total) node.setAttribute("aria-valuenow", String(Math.round((Math.min(progress.seconds_searchable, total) / total) * 100)));
      else node.removeAttribute("aria-valuenow");
      node.setAttribute("aria-valuetext", ready.length ? `Searchable: ${ready.length > 4 ? roughly(progress.seconds_searchable) : ready.join(", ")}` : "Nothing searchable yet");
    },
  };
}

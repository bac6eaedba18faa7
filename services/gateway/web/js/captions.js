// The captions of the video that is open: on unless somebody switches them off, which is remembered.

import * as api from "./api.js";
import { el } from "./dom.js";
import { language } from "./format.js";

const NAME = "earmark-captions";

function wanted() {
  try {
    return localStorage.getItem(NAME) !== "off";
  } catch {
    return true; // storage is switched off
  }
}

function remember(on) {
  try {
    localStorage.setItem(NAME, on ? "on" : "off");
  } catch {
    // See `wanted`.
  }
}

/** A button that shows and hides the captions of whatever media it is given. */
export function createCaptions() {
  const button = el("button", { type: "button", class: "button plain", "aria-pressed": "false", "aria-keyshortcuts": "c", title: "Captions (c)", hidden: true, on: { click: () => toggle() } }, "Captions");
  let media = null;

  const track = () => media?.querySelector("track")?.track;
  const isOn = () => track()?.mode === "showing";

  function tell() {
    button.hidden = !track();
    button.setAttribute("aria-pressed", String(isOn()));
  }

  function toggle() {
    const on = !isOn();
    if (track()) track().mode = on ? "showing" : "disabled";
    remember(on);
    tell();
  }

  return {
    button,
    toggle,
    /** Gives a media element the captions of a video as they are now. */
    put(element, videoId, code) {
      const fresh = media !== element;
      const on = fresh ? wanted() : isOn();
      media = element;
      media.querySelector("track")?.remove();
      const node = el("track", { kind: "captions", label: language(code) || "Captions", src: api.captionsUrl(videoId) });
      if (code) node.srclang = code;
      media.append(node);
      node.track.mode = on ? "showing" : "disabled";
      // The player's own controls have a switch too.
      if (fresh) media.textTracks.addEventListener("change", tell);
      tell();
    },
    clear() {
      media = null;
      tell();
    },
  };
}

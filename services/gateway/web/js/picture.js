// A still of a video at a second; a drawing in its place where there is none, or none yet.

import * as api from "./api.js";
import { el, icon } from "./dom.js";

// Pictures are made beside everything else: what is not there yet is asked for again, ever more rarely.
const AGAIN_MS = [3000, 6000, 12000, 30000, 60000];

/**
 * @param {number} width  pixels asked for
 * @returns {{node: HTMLElement, show: (videoId: string, t: number) => void}}  decoration only: what it shows is said beside it
 */
export function createPicture(width = 320) {
  const image = el("img", { alt: "", loading: "lazy", decoding: "async", hidden: true });
  const node = el("span", { class: "picture", "aria-hidden": "true" }, icon("wave"), image);
  let tries = 0;
  image.addEventListener("load", () => {
    image.hidden = false;
  });
  image.addEventListener("error", () => {
    image.hidden = true;
    const address = image.getAttribute("src");
    if (tries >= AGAIN_MS.length) return;
    setTimeout(() => {
      if (!node.isConnected || image.getAttribute("src") !== address) return;
      image.hidden = false; // a lazy image that is not laid out is not asked for
      image.src = address;
    }, AGAIN_MS[tries]);
    tries += 1;
  });
  return {
    node,
    show(videoId, t) {
      const address = api.pictureUrl(videoId, { t, width });
      if (!address) {
        image.hidden = true;
        image.removeAttribute("src");
      } else if (image.getAttribute("src") !== address) {
        tries = 0;
        image.hidden = false;
        image.src = address;
      }
    },
  };
}

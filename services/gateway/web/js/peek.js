// What lies at a mark of a timeline: a picture and what is said there, beside the pointer or the focus.

import { byId, el, setText } from "./dom.js";
import { clock, spokenClock } from "./format.js";
import { createPicture } from "./picture.js";
import { marked, said } from "./said.js";

/** How much of what is said a mark tells, in code points, about. */
const LENGTH = 110;

const picture = createPicture(320);
const time = el("b", {});
const text = el("span", {});
let shownFor = null;

function place(anchor) {
  const box = byId("peek");
  const { left, width, top, bottom } = anchor.getBoundingClientRect();
  const own = box.getBoundingClientRect();
  const middle = left + width / 2 - own.width / 2;
  const x = Math.max(8, Math.min(window.innerWidth - own.width - 8, middle));
  const above = top - own.height - 10;
  box.style.translate = `${Math.round(x)}px ${Math.round(above > 8 ? above : bottom + 10)}px`;
}

function show(anchor, moment) {
  const box = byId("peek");
  if (!box.childElementCount) box.append(picture.node, el("p", {}, time, " ", text));
  shownFor = anchor;
  picture.show(moment.video_id, moment.match_time);
  setText(time, clock(moment.match_time));
  text.replaceChildren(...marked(moment, LENGTH));
  box.hidden = false;
  place(anchor);
}

function hide(anchor) {
  if (shownFor !== anchor) return;
  shownFor = null;
  byId("peek").hidden = true;
}

/** What is shown of `moment`, in one line for who can't see it. */
export const spoken = (moment) => `${spokenClock(moment.match_time)}: ${said(moment, LENGTH)}`;

/** Shows `moment` while `anchor` is pointed at or has the focus. The anchor's own name is `spoken(moment)`. */
export function peekAt(anchor, moment) {
  anchor.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(anchor, moment));
  anchor.addEventListener("pointerleave", () => hide(anchor));
  anchor.addEventListener("focus", () => anchor.matches(":focus-visible") && show(anchor, moment));
  anchor.addEventListener("blur", () => hide(anchor));
  anchor.addEventListener("click", () => hide(anchor));
}

/** Takes away what is shown, as its anchor may be gone. */
export function hidePeek() {
  if (shownFor) hide(shownFor);
}

window.addEventListener("scroll", hidePeek, { capture: true, passive: true });

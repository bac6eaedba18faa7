// Why a moment was found: which leg found it, where it stood in that leg's list, and how the two were put together.

import { el } from "./dom.js";
import { ordinal } from "./format.js";
import { matchedWords } from "./said.js";

// As the gateway fuses: score = Σ 1 / (60 + rank).
const RRF_K = 60;

function row(kind, name, score, ...parts) {
  return el("div", { class: `why-row ${kind}` }, el("dt", {}, name), el("dd", {}, ...(score ? parts : [el("span", { class: "facts" }, "did not find it")])));
}

/** A disclosure that says why `moment` was found. */
export function why(moment) {
  const { semantic, keyword } = moment.scores;
  const legs = [semantic && "meaning", keyword && "exact words"].filter(Boolean);
  const words = matchedWords(moment);
  const meter = semantic && el("span", { class: "why-meter", "aria-hidden": "true" }, el("span", {}));
  if (meter) meter.firstElementChild.style.width = `${Math.max(0, Math.min(1, semantic.score)) * 100}%`;
  const terms = [semantic, keyword].filter(Boolean).map(({ rank }) => `1 ⁄ (${RRF_K} + ${rank})`);
  return el(
    "details",
    { class: "why" },
    el("summary", {}, ...legs.map((leg) => el("span", { class: leg === "meaning" ? "leg semantic" : "leg keyword" }, leg)), el("span", { class: "why-ask" }, "Why this hit")),
    el(
      "dl",
      {},
      row("semantic", "Meaning", semantic, meter, `${ordinal(semantic?.rank)} of all moments, similarity ${semantic?.score.toFixed(2)}`),
      row("keyword", "Exact words", keyword, `${ordinal(keyword?.rank)} of all moments, BM25 ${keyword?.score.toFixed(2)}`, words.length ? `; matched ${words.slice(0, 8).map((word) => `“${word}”`).join(", ")}` : ""),
      el("div", { class: "why-row" }, el("dt", {}, "Together"), el("dd", {}, terms.length > 1 ? `${terms.join(" + ")} = ${moment.score.toFixed(4)}` : moment.score.toFixed(4), el("span", { class: "facts" }, " (comparable within this answer)"))),
    ),
  );
}

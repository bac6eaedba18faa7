// Narrowing a search: by video, collection, language, speaker, tag and day.

import * as api from "./api.js";
import { byId, el, icon, setText } from "./dom.js";
import { day, language } from "./format.js";
import * as route from "./route.js";
import * as store from "./store.js";

const NAMES = { video_id: "Video", collection: "Collection", language: "Language", speaker: "Speaker", tag: "Tag", uploaded_since: "From", uploaded_before: "Until" };

/** A filter's value as people read it. */
export function told(name, value) {
  if (name === "video_id") return store.get(value)?.title ?? "one video";
  if (name === "language") return language(value);
  if (name.startsWith("uploaded_")) return day(`${value}T12:00`) || value;
  return value;
}

export function createFilters() {
  const panel = byId("filters");
  const toggle = byId("filters-toggle");
  const chips = byId("filter-chips");
  const fields = panel.elements;

  const set = (name, value) => {
    const { filters } = route.read();
    route.go({ filters: { ...filters, [name]: value } }, { replace: true });
  };

  toggle.addEventListener("click", () => open(panel.hidden));
  function open(yes) {
    panel.hidden = !yes;
    toggle.setAttribute("aria-expanded", String(yes));
    if (yes) offer();
  }

  /** Fills the choices with what the library, and what was heard in it, has. */
  function offer() {
    const { filters } = route.read();
    const choose = (name, values, text) => {
      const there = [...new Set([...values, filters[name]].filter(Boolean))].sort((a, b) => text(a).localeCompare(text(b)));
      fields[name].replaceChildren(el("option", { value: "" }, "Any"), ...there.map((value) => el("option", { value }, text(value))));
      fields[name].value = filters[name] ?? "";
    };
    const suggest = (id, values) => byId(id).replaceChildren(...[...new Set(values)].map((value) => el("option", { value })));
    const videos = store.all();
    choose("collection", videos.map((video) => video.collection), (value) => value);
    choose("language", videos.flatMap((video) => video.metadata.languages ?? [video.metadata.language]), language);
    suggest("known-speakers", store.speakers());
    suggest("known-tags", videos.flatMap((video) => video.tags ?? []));
    suggest("known-titles", videos.map((video) => video.title));
  }

  panel.addEventListener("submit", (event) => event.preventDefault());
  panel.addEventListener("change", ({ target }) => {
    const value = target.value.trim();
    if (target.name !== "video") return set(target.name, value);
    const video = store.all().find(({ title }) => title.localeCompare(value, undefined, { sensitivity: "base" }) === 0);
    target.setCustomValidity(value && !video ? "No video has this title; choose one of the list." : "");
    if (target.reportValidity()) set("video_id", video?.video_id ?? "");
    return undefined;
  });
  byId("filters-clear").addEventListener("click", () => route.go({ filters: {} }, { replace: true }));

  function draw(filters) {
    const given = Object.entries(filters);
    setText(byId("filters-count"), given.length ? String(given.length) : "");
    byId("filters-clear").hidden = !given.length;
    chips.hidden = !given.length;
    chips.replaceChildren(
      ...given.map(([name, value]) =>
        el(
          "li",
          {},
          el(
            "button",
            { type: "button", class: "chip removable", "aria-label": `Remove the filter ${NAMES[name]}: ${told(name, value)}`, on: { click: () => (set(name, ""), toggle.focus()) } },
            el("span", { class: "chip-name" }, NAMES[name]),
            told(name, value),
            icon("close"),
          ),
        ),
      ),
    );
  }

  store.subscribe((id) => {
    if (id === route.read().filters.video_id) draw(route.read().filters);
  });

  return {
    /** Shows the filters of a place. */
    show(filters) {
      draw(filters);
      for (const name of route.FILTERS) if (fields[name] && fields[name] !== document.activeElement) fields[name].value = filters[name] ?? "";
      if (fields.video !== document.activeElement) fields.video.value = filters.video_id ? (store.get(filters.video_id)?.title ?? "") : "";
      if (!panel.hidden) offer();
      if (filters.video_id) store.need(filters.video_id, api.getVideo);
    },
  };
}

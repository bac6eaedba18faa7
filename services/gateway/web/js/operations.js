// For whoever runs it: shards and replicas, queues, workers, speed, and what people ask and do not find.

import * as api from "./api.js";
import { byId, el, notice, setText } from "./dom.js";
import { bytes, day, plural, roughly } from "./format.js";

const EVERY_MS = 5000;
const NONE = "–";

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const number = (given) => (Number.isFinite(given) ? given.toLocaleString(undefined, { maximumFractionDigits: 1 }) : NONE);
const milliseconds = (given) => (Number.isFinite(given) ? `${given < 10 ? given.toFixed(1) : Math.round(given)} ms` : NONE);

function tile(name, text, hint = "") {
  return el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, text), hint && el("dd", { class: "facts" }, hint));
}

function panel(title, ...content) {
  return el("section", { class: "panel" }, el("h3", {}, title), ...content);
}

/** A column: its name, what of a row it shows, and whether that is a number. */
const column = (name, show, kind = "") => ({ name, show, kind });

/** What a replica is, with a dot that says the same. */
function state({ state: text, problem }) {
  return el("span", { class: "state-dot", data: { state: text }, title: problem }, capital(text), problem && el("span", { class: "facts" }, ` ${problem}`));
}

const REPLICA = [
  column("Shard", (row) => row.shard),
  column("Replica", (row) => row.replica),
  column("Address", (row) => row.address),
  column("State", state),
  column("Chunks", (row) => number(row.chunks), "number"),
  column("Videos", (row) => number(row.videos), "number"),
  column("Lag", (row) => number(row.lag), "number"),
  column("Memory", (row) => (row.resident_bytes ? bytes(row.resident_bytes) : NONE), "number"),
];

const QUEUE = [
  column("Stage", (row) => capital(row.stage)),
  column("Worked on by", (row) => row.work),
  column("Pending", (row) => number(row.pending), "number"),
  column("In flight", (row) => number(row.in_flight), "number"),
  column("Oldest", (row) => (row.oldest_s ? roughly(row.oldest_s) : NONE), "number"),
];

const WORKER = [
  column("Service", (row) => capital(row.service)),
  column("Host", (row) => row.host),
  column("Process", (row) => row.pid),
  column("Since", (row) => `${day(row.since)}, ${new Date(row.since).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" })}`),
  column("Busy with", (row) => row.work.filter(({ busy }) => busy).map(({ work, busy }) => `${work}: ${busy}`).join(", ") || "nothing"),
];

/** A table, or a sentence where there is nothing in it; `rows` is null when nobody could tell. */
function table(title, columns, rows, none) {
  if (!rows?.length) return panel(title, el("p", { class: "facts" }, rows ? none : "This can’t be told just now."));
  return panel(
    title,
    el(
      "div",
      { class: "table-box", tabIndex: 0, role: "region", "aria-label": title },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, ...columns.map(({ name, kind }) => el("th", { scope: "col", class: kind }, name)))),
        el("tbody", {}, ...rows.map((row) => el("tr", {}, ...columns.map(({ show, kind }) => el("td", { class: kind }, show(row)))))),
      ),
    ),
  );
}

function cacheTile([name, { hit, miss, changed, hit_rate: rate, entries, bytes: size }]) {
  const holds = `${plural(entries, "entry", "entries")}, ${bytes(size)}`;
  const asked = hit + miss + changed;
  return tile(`Cache of ${name.replace(/_/g, " ")}`, asked ? `${Math.round(rate * 100)} %` : NONE, asked ? `of ${number(asked)} asked; ${holds}` : `not asked yet; ${holds}`);
}

/**
 * @param {{onSearch: (query: string) => void}} handlers
 */
export function createOperations({ onSearch }) {
  const root = byId("operations-body");
  let timer = 0;
  let running = null;

  function asked(title, rows, none) {
    if (!rows.length) return panel(title, el("p", { class: "facts" }, none));
    const most = Math.max(...rows.map((row) => row.count));
    const line = ({ query, count, count_at_least: least }) => {
      const bar = el("span", { class: "asked-bar", "aria-hidden": "true" });
      bar.style.width = `${(count / most) * 100}%`;
      const times = least < count ? `${number(least)} to ${number(count)} ×` : `${number(count)} ×`;
      return el("li", {}, bar, el("button", { type: "button", class: "asked-query", on: { click: () => onSearch(query) } }, query), el("span", { class: "facts" }, times));
    };
    return panel(title, el("ol", { class: "asked" }, ...rows.slice(0, 12).map(line)));
  }

  function tiles({ search, throughput, cache }) {
    const within = (minutes) => `in ${minutes} min`;
    const found = [
      tile("Search, median", milliseconds(search.p50_ms), `p95 ${milliseconds(search.p95_ms)}, p99 ${milliseconds(search.p99_ms)}`),
      tile("Searches", number(search.count), `${within(search.minutes)}, ${search.partial ? number(search.partial) : "none"} partial`),
    ];
    if (throughput) {
      const { minutes, videos_ready: videos, media_seconds_searchable: seconds, times_real_time: speed } = throughput;
      found.push(tile("Made searchable", seconds ? roughly(seconds) : "0 s", `${within(minutes)}, ${plural(videos, "video")}`));
      found.push(tile("Speed", `${number(speed)} ×`, "as fast as it plays"));
    }
    return el("dl", { class: "tiles" }, ...found, ...Object.entries(cache ?? {}).map(cacheTile));
  }

  function draw(told) {
    const { shards, queues, workers, queries, problems = [] } = told;
    const replicas = shards && shards.flatMap(({ shard, replicas: list }) => list.map((replica) => ({ shard, ...replica })));
    const none = queries.kept ? "Nobody has searched yet." : "Queries are not counted here.";
    root.replaceChildren(
      ...problems.map(({ part, message }) => notice({ text: `${capital(part)}: ${message}`, kind: "warn" })),
      tiles(told),
      table("Shards and replicas", REPLICA, replicas, "No shard has started yet."),
      table("Queues", QUEUE, queues, "There is no queue."),
      table("Workers", WORKER, workers, "No worker answers."),
      el("div", { class: "panels" }, asked("Asked most", queries.frequent, none), asked("Asked and not found", queries.without_results, queries.kept ? "All that was asked was found." : none)),
    );
  }

  async function look() {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    try {
      const told = await api.operations(mine.signal);
      if (mine.signal.aborted) return;
      draw(told);
      byId("operations-notice").replaceChildren();
      setText(byId("operations-at"), `As of ${new Date(told.at).toLocaleTimeString()}`);
    } catch (error) {
      if (error.name === "AbortError") return;
      byId("operations-notice").replaceChildren(notice({ text: error.message, kind: "error", action: { label: "Try again", run: look } }));
    }
  }

  return {
    /** Looks now and every few seconds while it is in sight, but not while somebody reads a table or is about to click. */
    show(yes) {
      if (!yes) {
        clearInterval(timer);
        timer = 0;
        running?.abort();
      } else if (!timer) {
        look();
        timer = setInterval(() => !document.hidden && !root.contains(document.activeElement) && look(), EVERY_MS);
      }
    },
  };
}

// Numbers, times and texts as people read them. Pure functions: no DOM, no network.

const pad = (n) => String(n).padStart(2, "0");

/** 83.4 -> "1:23", 3723 -> "1:02:03". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** 83.4 -> "1 minute 23 seconds", for screen readers. */
export function spokenClock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(whole / 3600), "hour"],
    [Math.floor(whole / 60) % 60, "minute"],
    [whole % 60, "second"],
  ].filter(([n]) => n > 0);
  return parts.length ? parts.map(([n, unit]) => `${n} ${unit}${n === 1 ? "" : "s"}`).join(" ") : "the start";
}

/** A length of time in rough words: 42 -> "42 s", 1300 -> "22 min", 9000 -> "2 h 30 min". */
export function roughly(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest ? `${Math.floor(minutes / 60)} h ${rest} min` : `${minutes / 60} h`;
}

/** 1_530_000 -> "1.5 MB". */
export function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  let value = count;
  while (value >= 999.5 && power < units.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${power && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** How an upload stands, in one line. `speed` is bytes per second, 0 when not known yet. */
export function transfer(loaded, total, speed) {
  const parts = [`${bytes(loaded)} of ${bytes(total)}`];
  if (speed > 0) parts.push(`${bytes(speed)}/s`, `${roughly((total - loaded) / speed)} left`);
  return parts.join(" · ");
}

export const plural = (n, one, many = `${one}s`) => `${n.toLocaleString()} ${n === 1 ? one : many}`;

const ordinals = new Intl.PluralRules("en", { type: "ordinal" });

/** 1 -> "1st", 22 -> "22nd"; "" for no number. */
export const ordinal = (n) => (n ? `${n}${{ one: "st", two: "nd", few: "rd", other: "th" }[ordinals.select(n)]}` : "");

const languages = new Intl.DisplayNames(undefined, { type: "language", fallback: "code" });

/** "de" -> "German" in the reader's own language; "" when there is none. */
export function language(code) {
  if (!code) return "";
  try {
    return languages.of(code);
  } catch {
    return code;
  }
}

const sameYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const otherYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** An ISO date as "14 Mar", with the year when it is not this one; "" when there is none. */
export function day(iso) {
  const date = new Date(iso ?? NaN);
  if (Number.isNaN(date.getTime())) return "";
  return (date.getFullYear() === new Date().getFullYear() ? sameYear : otherYear).format(date);
}

/** A message of the server as a sentence: it begins with a capital and ends with a full stop. */
export function sentence(text) {
  const [first = "", ...rest] = Array.from(text.trim());
  const whole = first.toUpperCase() + rest.join("");
  return !whole || /[.!?…]$/.test(whole) ? whole : `${whole}.`;
}

/**
 * Cuts a text into runs that are marked or not.
 *
 * @param {string} text
 * @param {{start: number, end: number}[]} ranges  in Unicode code points, which is what the server counts in;
 *     JavaScript's own string indices are UTF-16 units and differ after the first emoji.
 * @returns {{text: string, marked: boolean}[]}
 */
export function runs(text, ranges) {
  const points = Array.from(text);
  const out = [];
  let at = 0;
  for (const { start, end } of [...ranges].sort((a, b) => a.start - b.start)) {
    const from = Math.max(at, Math.min(start, points.length));
    const to = Math.min(end, points.length);
    if (to <= from) continue;
    if (from > at) out.push({ text: points.slice(at, from).join(""), marked: false });
    out.push({ text: points.slice(from, to).join(""), marked: true });
    at = to;
  }
  if (at < points.length) out.push({ text: points.slice(at).join(""), marked: false });
  return out;
}

/**
 * The part of a long text worth showing, with its ranges moved along.
 *
 * Begins at `focus` (a code point), where a sentence begins, so that the reader sees why it was found; near the end of
 * the text at a sentence before it.
 *
 * @returns {{text: string, ranges: {start: number, end: number}[]}}
 */
export function excerpt(text, ranges, focus, length = 320) {
  const points = Array.from(text);
  if (points.length <= length * 1.25) return { text, ranges };
  let start = Math.min(Math.max(0, focus), Math.max(0, points.length - Math.floor(length / 2)));
  while (start < focus && start > 0 && !(/\s/.test(points[start - 1]) && /[.!?…。！？]/.test(points[start - 2] ?? "."))) start -= 1;
  if (focus - start > length * 0.6) {
    start = Math.max(0, focus - Math.floor(length * 0.3));
    while (start > 0 && !/\s/.test(points[start - 1])) start -= 1;
  }
  let end = Math.min(points.length, start + length);
  while (end < points.length && !/\s/.test(points[end])) end += 1;
  const before = start > 0 ? ["…", " "] : [];
  const shift = before.length - start;
  return {
    text: [...before, ...points.slice(start, end), ...(end < points.length ? [" ", "…"] : [])].join(""),
    ranges: ranges
      .filter((range) => range.end > start && range.start < end)
      .map((range) => ({ start: Math.max(range.start, start) + shift, end: Math.min(range.end, end) + shift })),
  };
}

// The gateway's HTTP API. Every call either gives the parsed answer or throws ApiError with words fit for people.

import { sentence } from "./format.js";
import * as key from "./key.js";

export const BASE = "/v1";

/** A call that was refused or never got through; `message` is shown as it is. */
export class ApiError extends Error {
  constructor(message, { status = 0, reason = "" } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.reason = reason;
  }
}

const UNREACHABLE = "Earmark can’t be reached just now. Check that it is running, then try again.";

/** The error that an answer with this status and body is. */
export function refusal(status, body) {
  let error = null;
  try {
    error = JSON.parse(body).error;
  } catch {
    // Not ours: a proxy in between answered.
  }
  const details = Array.isArray(error?.details) ? error.details : [];
  const field = details.find((detail) => detail.description)?.description;
  const reason = details.find((detail) => detail.reason)?.reason ?? error?.status ?? "";
  return new ApiError(sentence(error?.message || field || "") || `The server answered with an error (${status}).`, { status, reason });
}

async function call(path, { method = "GET", json = null, signal = null } = {}) {
  let response;
  const used = key.header();
  try {
    response = await fetch(`${BASE}${path}`, {
      method,
      signal,
      headers: json ? { "Content-Type": "application/json", ...used } : used,
      body: json ? JSON.stringify(json) : null,
    });
    if (response.ok) return response.status === 204 ? null : remember(await response.json());
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(UNREACHABLE, { reason: "UNREACHABLE" });
  }
  if (response.status === 401 && (await key.ask(used.Authorization ?? ""))) return call(path, { method, json, signal });
  throw refusal(response.status, await response.text());
}

// Where a key is needed, `links` are signed: a player, captions and event streams send no headers.
const links = new Map();

function remember(answer) {
  for (const video of [answer, ...(answer?.videos ?? [])]) if (video?.video_id && video.links?.events) links.set(video.video_id, video.links);
  return answer;
}

const linkOf = (id, name) => links.get(id)?.[name] ?? `${BASE}${of(id)}/${name}`;

const withParameters = (link, parameters) => `${link}${link.includes("?") ? "&" : "?"}${new URLSearchParams(parameters)}`;

/** Whether there are links of a video. */
export const knows = (id) => links.has(id);

/** Whether what sends no headers can be asked for already: where there is a key it takes a signed link. */
export const canAsk = (id) => knows(id) || !key.header().Authorization;

const of = (id) => `/videos/${encodeURIComponent(id)}`;

/** The filters of a place as the API takes them: days are the reader's own, and the last one counts whole. */
function filterParameters({ uploaded_since: since, uploaded_before: before, ...others }) {
  const midnight = (day, later) => {
    const [year, month, date] = day.split("-").map(Number);
    const at = new Date(year, month - 1, date + later);
    return Number.isNaN(at.getTime()) ? day : at.toISOString();
  };
  return { ...others, ...(since && { uploaded_since: midnight(since, 0) }), ...(before && { uploaded_before: midnight(before, 1) }) };
}

export function search({ q, mode, filters = {}, limit = 10, cursor = "" }, signal) {
  const params = new URLSearchParams({ q, mode, limit: String(limit), ...filterParameters(filters) });
  if (cursor) params.set("cursor", cursor);
  return call(`/search?${params}`, { signal });
}

export function listVideos({ limit = 50, cursor = "" } = {}) {
  const params = new URLSearchParams({ limit: String(limit) });
  if (cursor) params.set("cursor", cursor);
  return call(`/videos?${params}`);
}

export const getVideo = (id) => call(of(id));
export const getStatus = (id) => call(`${of(id)}/status`);
export const addVideo = (fields) => call("/videos", { method: "POST", json: fields });
export const changeVideo = (id, fields) => call(of(id), { method: "PATCH", json: fields });
export const retryVideo = (id) => call(`${of(id)}/retry`, { method: "POST" });
export const deleteVideo = (id) => call(of(id), { method: "DELETE" });
export const restoreVideo = (id) => call(`${of(id)}/restore`, { method: "POST" });
export const transcript = (id, signal) => call(`${of(id)}/transcript?format=json`, { signal });
export const self = () => call("/keys/self");
export const operations = (signal) => call("/operations", { signal });

export const transcriptUrl = (id, form) => withParameters(linkOf(id, "transcript"), { format: form });
export const captionsUrl = (id) => transcriptUrl(id, "vtt");
export const mediaUrl = (id) => linkOf(id, "media");
/** The same media by another address: browsers keep what they could not play by its address, whatever is there later. */
export const renditionUrl = (id) => withParameters(mediaUrl(id), { original: "false" });
export const originalUrl = (id) => withParameters(mediaUrl(id), { original: "true", download: "true" });
export const eventsUrl = (id) => linkOf(id, "events");

/** The picture of a video at a second, `width` pixels wide; "" while none is known to be there. */
export function pictureUrl(id, { t = 0, width = 320 } = {}) {
  const link = links.get(id)?.thumbnail;
  return link ? withParameters(link, { t: t.toFixed(1), width: String(width) }) : "";
}

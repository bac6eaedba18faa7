// The gateway's HTTP API. Every call either gives the parsed answer or throws ApiError with words fit for people.

import { sentence } from "./format.js";
import * as key from "./key.js";

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

function refusal(status, body) {
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
    response = await fetch(path, {
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

const linkOf = (id, name) => links.get(id)?.[name] ?? `${of(id)}/${name}`;

/** Whether there are links of a video. */
export const knows = (id) => links.has(id);

/** Whether what sends no headers can be asked for already: where there is a key it takes a signed link. */
export const canAsk = (id) => knows(id) || !key.header().Authorization;

const of = (id) => `/videos/${encodeURIComponent(id)}`;

export function search({ q, mode, limit = 10, cursor = "" }, signal) {
  const params = new URLSearchParams({ q, mode, limit: String(limit) });
  if (cursor) params.set("cursor", cursor);
  return call(`/search?${params}`, { signal });
}

export function listVideos({ limit = 50, cursor = "" } = {}) {
  const params = new URLSearchParams({ limit: String(limit) });
  if (cursor) params.set("cursor", cursor);
  return call(`/videos?${params}`);
}

export const getVideo = (id) => call(of(id));
export const addUrl = (url) => call("/videos", { method: "POST", json: { url } });
export const retryVideo = (id) => call(`${of(id)}/retry`, { method: "POST" });
export const deleteVideo = (id) => call(of(id), { method: "DELETE" });
export const transcript = (id, signal) => call(`${of(id)}/transcript?format=json`, { signal });
export function transcriptUrl(id, form) {
  const link = linkOf(id, "transcript");
  return `${link}${link.includes("?") ? "&" : "?"}format=${form}`;
}
export const captionsUrl = (id) => transcriptUrl(id, "vtt");
export const mediaUrl = (id) => linkOf(id, "media");
export const eventsUrl = (id) => linkOf(id, "events");

/**
 * Uploads one file. XMLHttpRequest, because fetch can't say how much it has sent.
 *
 * @param {File} file
 * @param {string} title
 * @param {(loaded: number, total: number) => void} onProgress  bytes, form overhead included
 * @returns {{done: Promise<Object>, cancel: () => void}}  `done` gives the Video, or rejects with ApiError or AbortError
 */
export function upload(file, title, onProgress) {
  const request = new XMLHttpRequest();
  const done = new Promise((resolve, reject) => {
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onload = () => {
      if (request.status < 200 || request.status > 299) return reject(refusal(request.status, request.responseText));
      try {
        return resolve(remember(JSON.parse(request.responseText)));
      } catch {
        return reject(new ApiError("The server’s answer could not be read. Reload the page to see whether the video arrived."));
      }
    };
    request.onerror = () => reject(new ApiError("The connection broke during the upload. Try again.", { reason: "UNREACHABLE" }));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
  });
  const form = new FormData();
  form.set("title", title); // before the file, so that the server knows it when the bytes begin
  form.set("file", file);
  request.open("POST", "/videos/upload");
  for (const [name, value] of Object.entries(key.header())) request.setRequestHeader(name, value);
  request.send(form);
  return { done, cancel: () => request.abort() };
}

// Uploads that an earlier page began and did not finish: they go on as soon as somebody chooses the file again.

import { announce, byId, el, icon, setText } from "./dom.js";
import { bytes } from "./format.js";
import * as key from "./key.js";
import { beingSent, prepare } from "./resumable.js";

/** How tus-js-client names what it keeps of an upload in `localStorage`. */
const KEPT = "tus::";

function anyKept() {
  try {
    return Object.keys(localStorage).some((name) => name.startsWith(KEPT));
  } catch {
    return false; // storage is switched off: then nothing is kept
  }
}

/** Asks the gateway of an upload with `HEAD` or `DELETE`. */
const ask = (method, address) => fetch(address, { method, headers: { "Tus-Resumable": "1.0.0", ...key.header() } });

const isOver = (response) => response.status === 404 || response.status === 410;

/** How many bytes of an upload are there; null while that can't be told, -1 when the gateway has it no more. */
async function arrived(address) {
  try {
    const response = await ask("HEAD", address);
    if (isOver(response)) return -1;
    const offset = response.ok ? Number(response.headers.get("Upload-Offset") ?? NaN) : NaN;
    return Number.isFinite(offset) ? offset : null;
  } catch {
    return null; // the gateway is away
  }
}

const going = new Set(); // chosen again already
const rows = new Map(); // by the name under which the library keeps it

function remove(name) {
  const row = rows.get(name);
  if (!row) return;
  if (row.contains(document.activeElement)) byId("column").focus({ preventScroll: true });
  row.remove();
  rows.delete(name);
}

function draw(storage, { urlStorageKey: name, uploadUrl, size, metadata }, offset) {
  const { filename } = metadata;
  const problem = el("p", { class: "error", role: "alert" });
  const far = offset === null ? "is not whole" : `is there up to ${bytes(offset)} of ${bytes(size)}`;

  async function giveUp(button) {
    button.disabled = true;
    setText(problem, "");
    try {
      const response = await ask("DELETE", uploadUrl);
      if (!response.ok && !isOver(response)) throw new Error(`the gateway answered ${response.status}`);
      await storage.removeUpload(name);
      announce(`The upload of ${filename} is given up.`);
      remove(name);
    } catch {
      button.disabled = false;
      setText(problem, "That did not work; try again in a while.");
    }
  }

  const choose = el("button", { type: "button", class: "button plain", "aria-label": `Choose ${filename} again`, on: { click: () => byId("files").click() } }, "Choose file");
  const end = el("button", { type: "button", class: "button plain", "aria-label": `Give up the upload of ${filename}`, on: { click: () => giveUp(end) } }, "Give up");
  rows.set(name, el("div", { class: "notice" }, icon("upload"), el("p", {}, el("b", {}, filename), ` ${far}. Choose the file again to go on.`), choose, end, problem));
  byId("unfinished").append(rows.get(name));
}

/** Shows what an earlier page began, but what another tab is sending now. */
export async function showUnfinished() {
  if (!anyKept()) return;
  const { urlStorage: storage } = (await prepare()).defaultOptions;
  const sending = await beingSent();
  for (const upload of await storage.findAllUploads()) {
    if (!upload.uploadUrl || !upload.metadata?.filename || sending.has(upload.uploadUrl)) continue;
    const offset = await arrived(upload.uploadUrl);
    if (offset === -1) await storage.removeUpload(upload.urlStorageKey);
    else if (!going.has(upload.urlStorageKey)) draw(storage, upload, offset);
  }
}

/** Takes the notice of an upload away: it goes on. */
export function goesOn(name) {
  going.add(name);
  remove(name);
}

// One file on its way by tus 1.0, which goes on where it was cut, even after the page was closed.

import * as api from "./api.js";
import * as key from "./key.js";

const LIBRARY = "/web/vendor/tus-js-client/tus.min.js";
const RETRY_DELAYS_MS = [0, 1000, 2000, 4000];
/** Once the quick tries are used up. */
const PATIENCE_MS = 5000;
/** A chunk an answer: proxies that hold a request's body back until it is whole hold back this much at most. */
const CHUNK_BYTES = 32 * 1024 * 1024;

let loading = null;

/** Fetches the library; called when somebody is about to add files. */
export async function prepare() {
  loading ??= import(LIBRARY).catch((error) => {
    loading = null;
    throw error;
  });
  await loading;
  return window.tus;
}

const LOCK = "earmark-upload ";

/**
 * Holds a lock while an upload is sent, so that other tabs know; they come only by https and on the own machine.
 *
 * @param {string} address
 * @param {Promise} done  settles when it is sent, or given up
 */
function tellTabs(address, done) {
  const over = done.then(() => {}, () => {});
  navigator.locks?.request(`${LOCK}${address}`, { ifAvailable: true }, () => over);
}

/** The addresses of the uploads that a tab is sending now; none where there are no locks. */
export async function beingSent() {
  const { held = [] } = (await navigator.locks?.query()) ?? {};
  return new Set(held.filter(({ name }) => name.startsWith(LOCK)).map(({ name }) => name.slice(LOCK.length)));
}

const status = (error) => error.originalResponse?.getStatus() ?? 0;

/**
 * Sends a file.
 *
 * @param {File} file
 * @param {Object<string, string>} metadata  title, collection, tags, language
 * @param {Object} told
 * @param {(sent: number, total: number) => void} told.onProgress  bytes
 * @param {() => void} told.onStalled  the network is away; it goes on by itself
 * @param {(name: string) => void} told.onResumed  it goes on where an earlier attempt was cut, which is kept by that name
 * @returns {{done: Promise<{videoId: string, existing: boolean}>, pause: () => void, resume: () => void, cancel: () => void}}
 *     `done` rejects with ApiError, or AbortError when cancelled
 */
export function send(file, metadata, { onProgress, onStalled, onResumed }) {
  let upload = null;
  let later = 0;
  let paused = false;
  let settle = null;
  const done = new Promise((resolve, reject) => {
    settle = { resolve, reject };
  });

  const goOn = () => {
    clearTimeout(later);
    if (!paused) upload?.start();
  };
  const end = () => {
    clearTimeout(later);
    window.removeEventListener("online", goOn);
  };

  async function failed(error) {
    const code = status(error);
    if (code === 401 && (await key.ask(key.header().Authorization ?? ""))) return goOn();
    if (code && code < 500 && code !== 409 && code !== 423 && code !== 429) {
      end();
      return settle.reject(api.refusal(code, error.originalResponse.getBody()));
    }
    onStalled();
    later = setTimeout(goOn, PATIENCE_MS);
    return undefined;
  }

  async function begin() {
    const tus = await prepare();
    upload = new tus.Upload(file, {
      endpoint: new URL(`${api.BASE}/files`, window.location.href).href,
      chunkSize: CHUNK_BYTES,
      retryDelays: RETRY_DELAYS_MS,
      removeFingerprintOnSuccess: true,
      metadata: { filename: file.name, filetype: file.type || "application/octet-stream", ...metadata },
      onBeforeRequest: (request) => {
        for (const [name, value] of Object.entries(key.header())) request.setHeader(name, value);
      },
      onAfterResponse: (request, response) => {
        // A gateway that is just starting again has not forgotten the upload: without this a new one would be begun.
        if (request.getMethod() === "HEAD" && response.getStatus() >= 500) throw new Error("the gateway is not ready");
      },
      onProgress,
      onUploadUrlAvailable: () => tellTabs(upload.url, done),
      onError: failed,
      onSuccess: ({ lastResponse }) => {
        end();
        settle.resolve({ videoId: lastResponse.getHeader("Earmark-Video-Id"), existing: lastResponse.getHeader("Earmark-Existing") === "true" });
      },
    });
    const [earlier] = await upload.findPreviousUploads();
    if (earlier) {
      upload.resumeFromPreviousUpload(earlier);
      onResumed(earlier.urlStorageKey);
    }
    window.addEventListener("online", goOn);
    goOn();
  }

  begin().catch((error) => {
    end();
    settle.reject(error);
  });

  return {
    done,
    pause() {
      paused = true;
      clearTimeout(later);
      upload?.abort();
    },
    resume() {
      paused = false;
      goOn();
    },
    cancel() {
      end();
      // What has arrived is taken off the server; if that can't be told, it is swept there in time.
      upload?.abort(Boolean(upload.url)).catch(() => {});
      settle.reject(new DOMException("cancelled", "AbortError"));
    },
  };
}

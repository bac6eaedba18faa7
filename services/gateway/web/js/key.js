// The key of a gateway that takes keys: asked for when it first says so, and kept as long as the tab is open, or on the
// device where somebody wants that.

import { byId, setText } from "./dom.js";

const NAME = "earmark-key";
let asking = null;

export function get() {
  try {
    return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // storage is switched off: then it lives in this page only
  }
}

/** Whether this device remembers a key. */
export function isRemembered() {
  try {
    return localStorage.getItem(NAME) !== null;
  } catch {
    return false; // see `get`
  }
}

let kept = "";
export const header = () => (get() || kept ? { Authorization: `Bearer ${get() || kept}` } : {});

function keep(key, remember) {
  kept = key;
  const [there, elsewhere] = remember ? ["localStorage", "sessionStorage"] : ["sessionStorage", "localStorage"];
  try {
    window[elsewhere].removeItem(NAME);
    window[there].setItem(NAME, key);
  } catch {
    // See `get`.
  }
  tell();
}

/** Takes the key off this device, and out of this page: it begins anew. */
function forget() {
  for (const storage of [sessionStorage, localStorage]) storage.removeItem(NAME);
  window.location.reload();
}

function tell() {
  byId("remembered").hidden = !isRemembered();
}
byId("forget-key").addEventListener("click", forget);
window.addEventListener("storage", tell); // another tab remembered or forgot it
tell();

/**
 * Asks for a key. Calls that find out at the same time that they need one wait for the same answer.
 *
 * @param {string} used  the header's value with which the call was refused
 * @returns {Promise<boolean>}  whether there is another key now
 */
export function ask(used) {
  if ((header().Authorization ?? "") !== used) return Promise.resolve(true); // somebody gave it meanwhile
  const dialog = byId("key-dialog");
  // Polling must not open it again and again for one who has closed it; what they click may.
  if (!asking && dialog.hasAttribute("data-closed") && !navigator.userActivation?.isActive) return Promise.resolve(false);
  asking ??= new Promise((resolve) => {
    const field = byId("key");
    const remember = byId("key-remember");
    field.value = "";
    remember.checked = isRemembered();
    setText(byId("key-error"), used ? "That key is not one of this gateway’s, or it does not hold any more." : "");
    const done = () => {
      const key = dialog.returnValue === "given" ? field.value.trim() : "";
      field.value = "";
      dialog.toggleAttribute("data-closed", !key);
      if (key) keep(key, remember.checked);
      asking = null;
      resolve(key !== "");
    };
    dialog.returnValue = "";
    dialog.addEventListener("close", done, { once: true });
    dialog.showModal();
  });
  return asking;
}

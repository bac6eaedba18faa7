// The key of a gateway that takes keys: asked for when it first says so, and kept as long as the tab is open.

import { byId, setText } from "./dom.js";

const NAME = "earmark-key";
let asking = null;

export function get() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // storage is switched off: then it lives in this page only
  }
}

let kept = "";
export const header = () => (get() || kept ? { Authorization: `Bearer ${get() || kept}` } : {});

function keep(key) {
  kept = key;
  try {
    sessionStorage.setItem(NAME, key);
  } catch {
    // See `get`.
  }
}

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
    field.value = "";
    setText(byId("key-error"), used ? "That key is not one of this gateway’s, or it does not hold any more." : "");
    const done = () => {
      const key = dialog.returnValue === "given" ? field.value.trim() : "";
      field.value = "";
      dialog.toggleAttribute("data-closed", !key);
      if (key) keep(key);
      asking = null;
      resolve(key !== "");
    };
    dialog.returnValue = "";
    dialog.addEventListener("close", done, { once: true });
    dialog.showModal();
  });
  return asking;
}

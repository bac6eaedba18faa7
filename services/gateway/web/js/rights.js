// What whoever is here may do, where that depends on a key: what they may not do is not offered.

import * as api from "./api.js";

/** Hides what needs a right that the key in use has not; `data-needs` names it. */
export async function applyRights() {
  let scopes = null;
  try {
    ({ scopes } = await api.self());
  } catch {
    // Not known: then what is not allowed is offered, and refused in words when it is tried.
  }
  const may = (right) => scopes === null || scopes.includes("admin") || scopes.includes(right);
  for (const node of document.querySelectorAll("[data-needs]")) node.hidden = !may(node.dataset.needs);
  document.body.toggleAttribute("data-readonly", !may("upload"));
}

// Handing on a link: the device's own way of sharing on a phone, else the clipboard.

/** Copies a text; gives whether it worked. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard API needs HTTPS or localhost; a mesh on the local network is often neither.
    const area = document.createElement("textarea");
    area.value = text;
    area.readOnly = true;
    area.className = "hidden";
    const there = document.activeElement;
    document.body.append(area);
    area.select();
    const ok = document.execCommand("copy");
    area.remove();
    there?.focus({ preventScroll: true });
    return ok;
  }
}

/**
 * @param {{title: string, url: string}} what
 * @returns {Promise<"shared"|"copied"|"failed"|"cancelled">}
 */
export async function share({ title, url }) {
  if (navigator.share && window.matchMedia("(pointer: coarse)").matches) {
    try {
      await navigator.share({ title, url });
      return "shared";
    } catch (error) {
      if (error.name === "AbortError") return "cancelled";
    }
  }
  return (await copyText(url)) ? "copied" : "failed";
}

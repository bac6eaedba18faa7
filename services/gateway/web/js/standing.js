// How a video stands, in words.

import { plural, roughly, sentence } from "./format.js";

/** Reasons that lie in the media (services/transcriber/problems.py): the same bytes fail again, whoever tries. */
const UNREADABLE = new Set(["EMPTY_FILE", "NOT_MEDIA", "INCOMPLETE_MEDIA", "NO_AUDIO_TRACK", "EMPTY_AUDIO_TRACK", "UNSUPPORTED_CODEC", "DAMAGED_AUDIO"]);

/** Whether a video that failed may be tried again; what was never fetched may be another by now. */
export const retryable = ({ status, error, source }) => status === "failed" && (source?.bytes === null || !UNREADABLE.has(error?.reason));

/** One line about a video; "" when there is nothing to say. */
export function standing({ status, progress, warnings, error, links }) {
  switch (status) {
    case "uploaded":
      return "Waiting its turn";
    case "processing": {
      if (!progress.slices_done && links.media === null) return "Being made searchable";
      if (!progress.slices_known) return "Listening for speech";
      if (!progress.slices_done) return progress.slicing_done ? `Writing down ${plural(progress.slices_known, "part")}` : "Writing down what is said";
      const parts = progress.slicing_done ? `${progress.slices_done} of ${plural(progress.slices_known, "part")} done` : `${plural(progress.slices_done, "part")} done so far`;
      const ready = progress.seconds_searchable > 0 ? ` · ${roughly(progress.seconds_searchable)} searchable already` : "";
      const left = Number.isFinite(progress.seconds_left) ? ` · about ${roughly(progress.seconds_left)} left` : "";
      return `${parts}${ready}${left}`;
    }
    case "deleting":
      return "Being deleted";
    case "failed":
      return sentence(error?.message || "Something went wrong");
    default:
      return (warnings ?? []).map((warning) => sentence(warning.message)).join(" ");
  }
}

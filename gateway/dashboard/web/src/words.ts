// What happened, in a sentence. Pure.

import { age, count, duration, facts, number } from "./format.ts";
import type { Link as FeedLink, Why } from "./link.ts";
import type { CommandResult, Device, Gap, Quantity } from "./protocol.ts";
import type { LogRow } from "./state.ts";
import { unreachable } from "./unreachable.ts";

export const NOT_MEASURED = "\u2013";

const WHY_LOST: Record<string, string> = {
  full: "the board\u2019s memory was full",
  power_loss: "power loss",
  refused: "the gateway could not read them",
  erased: "the board was erased",
  unexplained: "no reason given",
  gateway_restored: "the gateway was restored from a backup",
};

export function gapWords(gap: Gap): string {
  const why = WHY_LOST[gap.why] ?? gap.why;
  if (gap.count !== null) return `${count(gap.count, "sample")} lost: ${why}`;
  return gap.at_most === null ? `Samples lost: ${why}` : `Up to ${count(gap.at_most, "sample")} lost: ${why}`;
}

/** A line of the log. `quantities` give words to codes that the profile knows, such as the cause of a reset. */
export function logWords(row: LogRow, quantities: readonly Quantity[]): string {
  if (row.kind === "gap") return gapWords(row);
  const { code, data } = row;
  const sensor = row.sensor ?? (typeof data["sensor"] === "string" ? data["sensor"] : "a sensor");
  switch (code) {
    case "boot": {
      const cause = data["reset_cause"];
      const labels = quantities.find((quantity) => quantity.name === "reset_cause")?.labels;
      const word = typeof cause === "number" ? (labels?.[String(cause)] ?? `reset cause ${cause}`) : null;
      return word ? `Started: ${word}` : "Started";
    }
    case "sensor.failed":
      return `Sensor ${sensor} failed${"errno" in data ? ` (errno ${String(data["errno"])})` : ""}`;
    case "sensor.ok":
      return `Sensor ${sensor} works again`;
    case "samples.missed":
      return `${count(Number(data["count"] ?? 0), "sample")} of ${sensor} missed: they were due and could not be taken`;
    case "frame.refused":
      return "The gateway refused a frame";
    default:
      return [code, row.sensor, facts(data)].filter(Boolean).join(" \u00b7 ");
  }
}

/** How a command ended. */
export function resultWords(result: CommandResult, took_ms: number): string {
  switch (result.status) {
    case "done":
      return [`Done in ${took_ms < 1000 ? `${number(took_ms)} ms` : duration(took_ms)}`, facts(result.data)]
        .filter(Boolean)
        .join(" \u00b7 ");
    case "failed":
      return `Failed: ${result.error?.text ?? "the device gave no reason"}`;
    case "expired":
      return "Not begun in time, and it will not be";
    case "unknown":
      return "No answer: nobody knows whether it was carried out";
    default:
      return unreachable(result.status);
  }
}

/** The state of the feed in a few words that stay the same while the state does: they are read out aloud. */
export function linkWords(link: FeedLink): string {
  switch (link.kind) {
    case "live":
      return "Live";
    case "connecting":
      return link.why ? whyWords(link.why) : "Connecting";
    case "login":
      return "Logged out";
    case "waiting":
      return whyWords(link.why);
    default:
      return unreachable(link);
  }
}

function whyWords(why: Why): string {
  switch (why) {
    case "silent":
      return "Stale: the gateway has gone silent";
    case "stopped":
      return "Disconnected: the gateway was stopped";
    case "slow":
      return "Disconnected: this browser was too slow";
    case "lost":
      return "Disconnected: the connection was lost";
    case "unreachable":
      return "Disconnected: the gateway cannot be reached";
    default:
      return unreachable(why);
  }
}

/**
 * "Online for 2 h 5 min", "Offline, last seen 4 min ago", "Never connected yet". While the feed is not `live`, nobody knows:
 * "Was online".
 */
export function presenceWords(device: Device, now_ms: number, live: boolean): string {
  if (device.online && !live) return "Was online";
  if (device.online) return device.since_ms === null ? "Online" : `Online for ${duration(now_ms - device.since_ms)}`;
  if (device.last_seen_ms === null) return "Never connected yet";
  return `Offline, last seen ${age(now_ms - device.last_seen_ms)}`;
}

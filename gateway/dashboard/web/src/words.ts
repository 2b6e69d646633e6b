// What happened, in a sentence. Pure.

import { age, count, duration, facts, number, when } from "./format.ts";
import type { Link as FeedLink, Why } from "./link.ts";
import type { Asked, Broker, CommandResult, Counts, Device, DeviceEvent, Gap, Quantity } from "./protocol.ts";
import { unreachable } from "./unreachable.ts";

export const NOT_MEASURED = "\u2013";

const WHY_LOST: Record<string, string> = {
  full: "memory full",
  power_loss: "power cut",
  refused: "the gateway could not read them",
  erased: "the board\u2019s flash was erased",
  other: "for a reason of the board\u2019s own",
  unexplained: "they never came, and nobody knows why",
  gateway_restored: "the gateway was restored from an older backup",
};

/** "12 samples lost: memory full", "At most 64 samples lost: power cut". */
export function gapWords(gap: Gap): string {
  const why = WHY_LOST[gap.why] ?? gap.why;
  const known = gap.count ?? (gap.at_most === null && gap.to !== null ? gap.to - gap.from + 1 : null);
  if (known !== null) return `${count(known, "sample")} lost: ${why}`;
  return gap.at_most === null ? `Samples lost: ${why}` : `At most ${count(gap.at_most, "sample")} lost: ${why}`;
}

/** Between which times: "19:02:11 to 19:03:20", "since 19:02:11", or when the gateway learned of it. */
export function gapTimes(gap: Gap, now_ms: number): string {
  const [before, after] = [gap.before_ms, gap.after_ms].map((at_ms) => (at_ms === null ? null : when(at_ms, now_ms)));
  if (before && after) return `${before} to ${after}`;
  if (before) return `since ${before}`;
  return after ? `until ${after}` : `learned of at ${when(gap.received_ms, now_ms)}`;
}

/** "50 samples", "at most 64 samples", "50 to 114 samples"; of a gap without a bound nobody knows how many were in it. */
export function lostWords({ lost, uncertain }: Counts, gaps: readonly Gap[] = []): string {
  if (gaps.some((gap) => gap.to === null && gap.count === null && gap.at_most === null)) {
    return lost > uncertain ? `${count(lost - uncertain, "sample")} or more` : "unknown how many samples";
  }
  if (!uncertain) return count(lost, "sample");
  return uncertain === lost ? `at most ${count(lost, "sample")}` : `${number(lost - uncertain)} to ${count(lost, "sample")}`;
}

/** What never arrived or was refused, in a few words. A device that was never here lost nothing, and sent nothing. */
export function deliveryWords(device: Device): string {
  const { samples, gaps, lost, quarantined } = device.counts;
  if (device.last_seen_ms === null && !samples && !gaps) return "never seen";
  const found = [quarantined ? `${count(quarantined, "value")} refused` : "", lost ? `${lostWords(device.counts)} lost` : gaps ? count(gaps, "gap") : ""];
  return found.filter(Boolean).join(", ") || "nothing lost";
}

const QUALITY: Record<string, string> = {
  estimated: "time estimated",
  corrected: "time corrected",
};

/** How a time was found, where that is not certain; empty where it is. */
export const qualityWords = (quality: string): string => (quality === "synced" ? "" : (QUALITY[quality] ?? quality));

export const QUALITY_TITLE: Record<string, string> = {
  estimated: "The gateway could not ask this board for its time yet: samples are stamped by their arrival",
  corrected: "The time was estimated first and found later",
};

/** "connected for 2 h", "away for 4 min: connection refused". */
export function brokerWords(broker: Broker, now_ms: number): string {
  const state = broker.state === "connected" ? "Connected" : broker.state === "stopped" ? "Stopped" : "Not connected";
  const since = broker.since_ms === null ? "" : ` for ${duration(now_ms - broker.since_ms)}`;
  return `${state}${since}${broker.why && broker.state !== "connected" ? `: ${broker.why}` : ""}`;
}

/** As an ESP32 numbers them; for a node whose profile has no words of its own. */
const RESET_CAUSE: Record<string, string> = {
  1: "power on or reset button",
  2: "restart or crash",
  3: "watchdog",
  4: "deep sleep",
  5: "soft reset",
};

/** Why a sensor could not be read. A reason that is not here is shown as it is. */
const WHY_FAILED: Record<string, (at: string, bus: string) => string> = {
  missing: (at) => `no chip answers${at}`,
  bus_stuck: (_, bus) => `its bus${bus} is stuck`,
  crc: () => "what came from it was garbled on the way (CRC error)",
  range: () => "what it measures is outside of its data sheet\u2019s range",
  busy: () => "it never becomes ready",
  wrong_chip: (at) => `another chip answers${at} than its profile says`,
};

/** "no chip answers at 0x76". */
function failureWords(data: DeviceEvent["data"]): string {
  const { why, address, pin, bus } = data;
  if (typeof why !== "string") return String(data["error"] ?? `errno ${String(data["errno"])}`);
  const on = typeof bus === "string" ? ` ${bus}` : "";
  const at = typeof address === "number" ? ` at 0x${address.toString(16).padStart(2, "0")}` : typeof pin === "number" ? ` on GPIO${pin}` : on && ` on${on}`;
  return Object.hasOwn(WHY_FAILED, why) ? WHY_FAILED[why]!(at, on) : why;
}

/** An event. `quantities` give words to codes that the profile knows, such as the cause of a reset. */
export function eventWords(row: DeviceEvent, quantities: readonly Quantity[]): string {
  const { code, data } = row;
  const sensor = row.sensor ?? (typeof data["sensor"] === "string" ? data["sensor"] : "a sensor");
  switch (code) {
    case "boot": {
      const cause = data["reset_cause"];
      const labels = quantities.find((quantity) => quantity.name === "reset_cause")?.labels;
      const word = typeof cause === "number" ? (labels?.[cause] ?? RESET_CAUSE[cause] ?? `reset cause ${cause}`) : null;
      return word ? `Started: ${word}` : "Started";
    }
    case "sensor.failed":
      return `Sensor ${sensor} failed: ${failureWords(data)}`;
    case "sensor.ok":
      return `Sensor ${sensor} works again`;
    case "samples.missed":
      return `${count(Number(data["count"] ?? 0), "sample")} of ${sensor} missed: they were due and could not be taken`;
    case "boots.forgotten":
      return `${count(Number(data["records"] ?? 0), "sample")} of ${count(Number(data["boots"] ?? 0), "earlier start")} given up: there were too many starts to keep`;
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

const ASKED_BY: Record<string, string> = { page: "the page", cli: "the command line", api: "a program" };

export const askedByWords = (by: string): string => ASKED_BY[by] ?? by.replace(/^mqtt\./, "MQTT ");

/** Where a command is, or how it ended. */
export function askedWords(asked: Asked, now_ms: number): string {
  switch (asked.state) {
    case "queued":
      return `waits for the device, until ${when(asked.deadline_ms, now_ms)}`;
    case "sent":
      return "sent, waiting for the answer";
    case "done":
    case "failed":
    case "expired":
    case "unknown": {
      const words = resultWords({ ...asked, status: asked.state }, (asked.ended_ms ?? asked.asked_ms) - asked.asked_ms);
      return words[0]!.toLowerCase() + words.slice(1);
    }
    default:
      return unreachable(asked.state);
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
 * "Online for 2 h 5 min", "Asleep, expected at 14:05", "Offline, last seen 4 min ago", "Never connected yet". While the feed is not `live`, nobody knows:
 * "Was online".
 */
export function presenceWords(device: Device, now_ms: number, live: boolean): string {
  if (device.online && !live) return "Was online";
  if (device.online) return device.since_ms === null ? "Online" : `Online for ${duration(now_ms - device.since_ms)}`;
  if (device.asleep_until_ms !== null) return `Asleep, expected at ${when(device.asleep_until_ms, now_ms)}`;
  if (device.last_seen_ms === null) return "Never connected yet";
  return `Offline, last seen ${age(now_ms - device.last_seen_ms)}`;
}

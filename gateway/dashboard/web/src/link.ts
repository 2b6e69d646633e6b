// The connection's state, as data. Pure: `step` says what becomes of it and what the shell (connection.ts) is to do.

import { unreachable } from "./unreachable.ts";

/** The gateway sends a heartbeat every 2 s: after three missed ones nothing on the page can be trusted to be current. */
export const SILENT_AFTER_MS = 6_000;

/** An attempt that has brought nothing after this long is given up. */
export const CONNECT_WITHIN_MS = 8_000;

/** Only a connection that lived this long ends the back-off: one that fails again at once must not be retried at once. */
const PROVEN_AFTER_MS = 10_000;

const SESSION_ENDED = 4401;
const TOO_SLOW = 4006;
const GOING_AWAY = 1001;

/** Why we are not connected. */
export type Why = "silent" | "stopped" | "slow" | "lost" | "unreachable";

export type Link =
  /** `why` is kept while trying again: what is shown must not flicker with every attempt. */
  | { kind: "connecting"; since_ms: number; tries: number; heard_ms: number | null; why: Why | null }
  | { kind: "live"; since_ms: number; tries: number; heard_ms: number }
  | { kind: "waiting"; until_ms: number; tries: number; heard_ms: number | null; why: Why }
  | { kind: "login"; heard_ms: number | null };

export type LinkEvent =
  /** A frame has arrived. */
  | { type: "heard" }
  | { type: "closed"; code: number }
  /** The gateway says that this browser is not logged in. */
  | { type: "unauthorized" }
  /** The network is back, or somebody looks at the page again: no reason to wait any longer. */
  | { type: "nudge" }
  | { type: "tick" };

export type Effect = "open" | "close" | "ask-session";

export interface Step {
  link: Link;
  effects: Effect[];
}

/** Wait before retry `tries` (0-based), in ms. Random over the whole span: every browser lost the gateway at the same moment. */
export const retryDelayMs = (tries: number, random: () => number): number =>
  random() * Math.min(30_000, 1_000 * 2 ** tries);

export function start(now_ms: number): Step {
  return { link: { kind: "connecting", since_ms: now_ms, tries: 0, heard_ms: null, why: null }, effects: ["open"] };
}

export function step(link: Link, event: LinkEvent, now_ms: number, random: () => number): Step {
  const stay: Step = { link, effects: [] };
  const connect = (tries: number): Step => ({
    link: {
      kind: "connecting",
      since_ms: now_ms,
      tries,
      heard_ms: link.heard_ms,
      why: link.kind === "waiting" ? link.why : null,
    },
    effects: ["open"],
  });
  const wait = (why: Why, tries: number, ...effects: Effect[]): Step => ({
    link: {
      kind: "waiting",
      until_ms: now_ms + retryDelayMs(tries, random),
      tries: tries + 1,
      heard_ms: link.heard_ms,
      why,
    },
    effects,
  });

  switch (event.type) {
    case "heard":
      if (link.kind === "live") return { link: { ...link, heard_ms: now_ms }, effects: [] };
      if (link.kind !== "connecting") return stay;
      return { link: { kind: "live", since_ms: now_ms, tries: link.tries, heard_ms: now_ms }, effects: [] };
    case "closed":
      if (event.code === SESSION_ENDED) return { link: { kind: "login", heard_ms: link.heard_ms }, effects: [] };
      if (link.kind === "connecting") return wait("unreachable", link.tries, "ask-session");
      if (link.kind !== "live") return stay;
      return wait(
        event.code === TOO_SLOW ? "slow" : event.code === GOING_AWAY ? "stopped" : "lost",
        now_ms - link.since_ms >= PROVEN_AFTER_MS ? 0 : link.tries,
      );
    case "unauthorized":
      return { link: { kind: "login", heard_ms: link.heard_ms }, effects: link.kind === "live" ? ["close"] : [] };
    case "nudge":
      return link.kind === "waiting" ? connect(link.tries) : link.kind === "login" ? connect(0) : stay;
    case "tick":
      switch (link.kind) {
        case "live":
          return now_ms - link.heard_ms >= SILENT_AFTER_MS ? wait("silent", 0, "close") : stay;
        case "connecting":
          return now_ms - link.since_ms >= CONNECT_WITHIN_MS ? wait(link.why ?? "unreachable", link.tries, "close") : stay;
        case "waiting":
          return now_ms >= link.until_ms ? connect(link.tries) : stay;
        case "login":
          return stay;
        default:
          return unreachable(link);
      }
    default:
      return unreachable(event);
  }
}

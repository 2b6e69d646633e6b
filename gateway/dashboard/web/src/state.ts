// What the page knows. Pure: no DOM, no socket, no clock. Every change of it is `reduce(state, action)`.

import { MINUTE_MS } from "./format.ts";
import type { Asked, Device, DeviceEvent, Gap, Latest, Panel, Refused, Samples, ServerMessage } from "./protocol.ts";
import { unreachable } from "./unreachable.ts";

/** Newest rows kept per device, of what was refused and of what happened. */
export const ROWS_KEPT = 200;

/** What is stamped further ahead of the gateway's clock than this was stamped before that clock was set back. */
export const AHEAD_MS = MINUTE_MS;

/** A newest value with what decides whether another one supersedes it. Unknown boot: of a snapshot, or provisional. */
export interface Newest extends Latest {
  boot_id?: string;
  seq?: number;
}

export interface DeviceState extends Device {
  latest: Record<string, Newest>;
  /** Newest first, like `events`. */
  refused: readonly Refused[];
  events: readonly DeviceEvent[];
  /** What the gateway learned of last comes first. */
  gaps: readonly Gap[];
  /** What it was asked to do, newest first. */
  asked: readonly Asked[];
  /** Grows when REST knows more of the past than was told: times were corrected, or a gap was found. */
  revision: number;
}

export interface State {
  gateway: string;
  version: string;
  /** False until the first snapshot: only then does an empty `devices` mean that there is none. */
  loaded: boolean;
  /** Snapshots taken: each may hide a hole before it, so whoever shows history loads it again. */
  snapshots: number;
  /** What to add to the browser's clock to get the gateway's. Ages are told by the gateway's clock. */
  skew_ms: number;
  /** By id, in the order of the ids. */
  devices: ReadonlyMap<string, DeviceState>;
  /** The gateway itself; null until it has told. */
  panel: Panel | null;
}

/** A message from the feed, or rows that REST gave for one device. */
export type Action =
  | ServerMessage
  | { type: "refused.loaded"; device: string; rows: Refused[] }
  | { type: "events.loaded"; device: string; rows: DeviceEvent[] }
  | { type: "notice.dismissed"; id: string }
  | { type: "gaps.loaded"; device: string; rows: Gap[] }
  | { type: "commands.loaded"; device: string; rows: Asked[] };

export const EMPTY: State = { gateway: "", version: "", loaded: false, snapshots: 0, skew_ms: 0, devices: new Map(), panel: null };

/** `heard_ms`: when the message arrived, by the browser's clock. */
export function reduce(state: State, action: Action, heard_ms: number): State {
  const now_ms = heard_ms + state.skew_ms; // by the gateway's clock
  switch (action.type) {
    case "snapshot":
      return {
        gateway: action.gateway,
        version: action.version,
        loaded: true,
        snapshots: state.snapshots + 1,
        skew_ms: action.at_ms - heard_ms,
        devices: byId(action.devices.map((device) => withRows(device, state.devices.get(device.id)))),
        panel: state.panel,
      };
    case "status": {
      const { notices, store, brokers, door } = action;
      return { ...state, panel: { notices, store, brokers, door } };
    }
    case "notice.dismissed": {
      const { panel } = state;
      return { ...state, panel: panel && { ...panel, notices: panel.notices.filter((notice) => notice.id !== action.id) } };
    }
    case "heartbeat":
      return { ...state, skew_ms: action.at_ms - heard_ms };
    case "samples":
      return change(state, action.device, (device) => {
        const latest = { ...device.latest };
        for (const [name, column] of Object.entries(action.values)) {
          for (let index = column.length - 1; index >= 0; index--) {
            const value = column[index];
            if (typeof value !== "number") continue; // not measured in this sample: an older one may have it
            const { quality, boot_id } = action;
            const newest = { value, at_ms: action.at_ms[index]!, quality, provisional: false, boot_id, seq: action.seq[index]! };
            if (superseded(latest[name], newest, now_ms)) latest[name] = newest;
            break;
          }
        }
        const known_ms = device.newest_at_ms ?? 0;
        const from_ms = known_ms > now_ms + AHEAD_MS ? 0 : known_ms;
        const gaps = closed(device.gaps, action);
        return { ...device, latest, gaps, newest_at_ms: action.at_ms.reduce((a, b) => Math.max(a, b), from_ms) };
      });
    case "latest":
      return change(state, action.device, (device) => {
        const latest = { ...device.latest };
        for (const [name, value] of Object.entries(action.values)) {
          if (value === null) continue;
          const newest = { value, at_ms: action.at_ms, quality: "estimated", provisional: true };
          if (superseded(latest[name], newest, now_ms)) latest[name] = newest;
        }
        return { ...device, latest };
      });
    case "quarantine":
    case "refused.loaded":
      return change(state, action.device, (device) => ({ ...device, refused: merge(action.rows, device.refused, refusedKey) }));
    case "event":
    case "events.loaded":
      return change(state, action.device, (device) => ({ ...device, events: merge(action.rows, device.events, eventKey) }));
    case "gap": {
      const { type: _, device: id, ...gap } = action;
      return change(state, id, (device) => ({ ...device, gaps: mergeGaps([gap], device.gaps), revision: device.revision + 1 }));
    }
    case "gaps.loaded":
      return change(state, action.device, (device) => ({ ...device, gaps: mergeGaps(action.rows, device.gaps) }));
    case "corrected":
      return change(state, action.device, (device) => ({
        ...device,
        latest: Object.fromEntries(Object.entries(device.latest).map(([name, value]) => [name, moved(value, action)])),
        revision: device.revision + 1,
      }));
    case "command":
      return change(state, action.device, (device) => ({ ...device, asked: mergeAsked([action.row], device.asked) }));
    case "commands.loaded":
      return change(state, action.device, (device) => ({ ...device, asked: mergeAsked(action.rows, device.asked) }));
    case "presence": {
      const { online, since_ms, last_seen_ms, connection, asleep_until_ms } = action;
      const now = { online, since_ms, last_seen_ms, connection, asleep_until_ms };
      return change(state, action.device, (device) => ({ ...device, ...now }));
    }
    case "counts":
      return change(state, action.device, (device) => ({ ...device, counts: action.counts }));
    case "device": {
      const device = withRows(action.info, state.devices.get(action.device));
      return { ...state, devices: byId([...others(state, action.device), device]) };
    }
    case "removed":
      return { ...state, devices: byId(others(state, action.device)) };
    default:
      return unreachable(action);
  }
}

/**
 * Within one boot the sequence decides, since times may be corrected; between boots the time, unless the one that is known is
 * from ahead of the gateway's clock: its time was wrong. The gateway decides it alike (live.py).
 */
function superseded(known: Newest | undefined, other: Newest, now_ms: number): boolean {
  if (!known) return true;
  if (known.boot_id !== undefined && known.boot_id === other.boot_id) return other.seq! >= known.seq!;
  if (known.at_ms > now_ms + AHEAD_MS) return true;
  return other.provisional ? other.at_ms > known.at_ms : other.at_ms >= known.at_ms;
}

/** A snapshot does not carry rows: those already known stay. */
function withRows(device: Device, known: DeviceState | undefined): DeviceState {
  const { refused = [], events = [], gaps = [], asked = [], revision = 0 } = known ?? {};
  return { ...device, refused, events, gaps, asked, revision };
}

type Corrected = Extract<ServerMessage, { type: "corrected" }>;

/** A newest value after its time was corrected. One of a snapshot does not say which sample it is: the next snapshot is right. */
function moved(known: Newest, { boot_id, from, to, moved_ms }: Corrected): Newest {
  const meant = known.quality === "estimated" && known.boot_id === boot_id && known.seq! >= from && known.seq! <= to;
  return meant ? { ...known, at_ms: known.at_ms + moved_ms, quality: "corrected" } : known;
}

/** Samples that follow a gap tell when it ended: those behind it in its boot, or, where that ended, those of the next. */
function closed(gaps: readonly Gap[], samples: Samples): readonly Gap[] {
  if (!gaps.some((gap) => gap.after_ms === null)) return gaps;
  const [seq, at_ms] = [samples.seq[0], samples.at_ms[0]];
  if (seq === undefined || at_ms === undefined) return gaps;
  return gaps.map((gap) => {
    const here = gap.boot_id === samples.boot_id;
    const follows = gap.to === null ? !here && gap.before_ms !== null && at_ms >= gap.before_ms : here && seq > gap.to;
    return gap.after_ms === null && follows ? { ...gap, after_ms: at_ms } : gap;
  });
}

function change(state: State, id: string, edit: (device: DeviceState) => DeviceState): State {
  const device = state.devices.get(id);
  if (!device) return state; // revoked a moment ago
  return { ...state, devices: new Map(state.devices).set(id, edit(device)) };
}

function others(state: State, id: string): DeviceState[] {
  return [...state.devices.values()].filter((device) => device.id !== id);
}

function byId(devices: DeviceState[]): ReadonlyMap<string, DeviceState> {
  return new Map(devices.sort((a, b) => (a.id < b.id ? -1 : 1)).map((device) => [device.id, device]));
}

const refusedKey = (row: Refused) => `${row.boot_id} ${row.seq} ${row.quantity ?? ""} ${row.code}`;
const eventKey = (row: DeviceEvent) => `${row.boot_id} ${row.seq}`;
export const gapKey = (gap: Gap): string => `${gap.boot_id} ${gap.from}`;

function mergeGaps(fresh: readonly Gap[], known: readonly Gap[]): readonly Gap[] {
  const gaps = new Map(known.map((gap) => [gapKey(gap), gap]));
  for (const gap of fresh) {
    const before = gaps.get(gapKey(gap)); // it may know times that REST did not know when it answered
    gaps.set(gapKey(gap), { ...gap, before_ms: gap.before_ms ?? before?.before_ms ?? null, after_ms: gap.after_ms ?? before?.after_ms ?? null });
  }
  return [...gaps.values()].sort((a, b) => b.received_ms - a.received_ms || b.boot - a.boot || b.from - a.from).slice(0, ROWS_KEPT);
}

/** An end is an end: what was told later about an earlier state changes nothing. */
function mergeAsked(fresh: readonly Asked[], known: readonly Asked[]): readonly Asked[] {
  const ids = new Set(known.map((one) => one.id));
  const unheardOf = fresh.filter((one) => !ids.has(one.id)); // newer than what is known, within one millisecond too
  const asked = new Map([...unheardOf, ...known].map((one) => [one.id, one]));
  for (const one of fresh) if ((asked.get(one.id)?.ended_ms ?? null) === null) asked.set(one.id, one);
  return [...asked.values()].sort((a, b) => b.asked_ms - a.asked_ms).slice(0, ROWS_KEPT);
}

/** Both lists in one, newest first, each row once (the fresh one wins), bounded. */
function merge<Row extends { at_ms: number; boot_id: string }>(
  fresh: readonly Row[],
  known: readonly Row[],
  key: (row: Row) => string,
): Row[] {
  const rows = new Map<string, Row>();
  for (const row of [...fresh, ...known]) if (!rows.has(key(row))) rows.set(key(row), row);
  return [...rows.values()].sort((a, b) => b.at_ms - a.at_ms).slice(0, ROWS_KEPT);
}

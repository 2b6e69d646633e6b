// What the page shows, as signals, and the one connection that feeds it. Shell: the decisions are in link.ts and state.ts.

import { signal } from "@preact/signals";
import { Connection } from "./connection.ts";
import type { Link } from "./link.ts";
import { parseFrame } from "./parse.ts";
import type { Samples, Session } from "./protocol.ts";
import * as rest from "./rest.ts";
import { type Action, EMPTY, reduce, type State } from "./state.ts";
import type { Trace } from "./trace.ts";

/** Text is renewed five times a second at most, however fast the samples come; charts have their own loop (frames.ts). */
const SHOW_EVERY_MS = 200;
const AGES_EVERY_MS = 1_000;

export const state = signal<State>(EMPTY);
export const link = signal<Link>({ kind: "connecting", since_ms: Date.now(), tries: 0, heard_ms: null, why: null });

/** The gateway's clock, renewed once a second: what ages are told by. */
export const now_ms = signal(Date.now());

/** Who is looking; null until the gateway has told. */
export const session = signal<Session | null>(null);

/** Whether to offer what changes something. The gateway decides; this only saves a person a refusal. */
export const mayControl = (): boolean => session.value !== null && session.value.scope !== "read";

/** Messages that could not be read; 0 unless gateway and page disagree. */
export const unreadable = signal(0);

let current: State = EMPTY;

/** The gateway's clock, now. */
export const gatewayNow_ms = (): number => Date.now() + current.skew_ms;

export function act(action: Action): void {
  current = reduce(current, action, Date.now());
}

// --- charts listen to samples directly

const traces = new Map<string, Set<Trace>>();
const traceKey = (device: string, quantity: string) => `${device}/${quantity}`;

/** From now on live samples go to `trace`, until the returned function is called. */
export function follow(device: string, quantity: string, trace: Trace): () => void {
  const key = traceKey(device, quantity);
  const followers = traces.get(key) ?? new Set();
  traces.set(key, followers.add(trace));
  return () => {
    followers.delete(trace);
    if (!followers.size) traces.delete(key);
  };
}

function feed(samples: Samples): void {
  for (const [quantity, column] of Object.entries(samples.values)) {
    for (const trace of traces.get(traceKey(samples.device, quantity)) ?? []) {
      column.forEach((value, index) => {
        if (value !== null) trace.push(samples.at_ms[index]!, value, samples.quality);
      });
    }
  }
}

/** The points of the device's charts are not where they belong any more. */
function outdate(device: string): void {
  for (const [key, followers] of traces) {
    if (key.startsWith(`${device}/`)) for (const trace of followers) trace.outdated = true;
  }
}

// --- the connection

function show(): void {
  state.value = current;
}

function showAges(): void {
  now_ms.value = gatewayNow_ms();
}

async function loggedIn(): Promise<boolean> {
  session.value = await rest.session();
  return session.value !== null;
}

const connection = new Connection(
  `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`,
  loggedIn,
  {
    frame(text) {
      const { messages, problems } = parseFrame(text);
      for (const message of messages) {
        act(message);
        if (message.type === "samples") feed(message);
        if (message.type === "corrected") outdate(message.device);
        if (message.type === "snapshot") {
          show(); // at once: the page is empty or stale until then
          showAges();
        }
      }
      if (problems.length) {
        unreadable.value += problems.length;
        console.warn("mpy-gateway: not understood:", problems.slice(0, 3).join("; "));
      }
    },
    link(next) {
      if (next.kind === "live" && link.value.kind !== "live") loggedIn().catch(() => {}); // a role may be another one by now
      // The time of the last frame is of no interest while frames come: without this, every frame would redraw the header.
      if (link.value.kind !== "live" || next.kind !== "live") link.value = next;
    },
  },
);

/** This browser has just logged out. */
export const leave = (): void => location.assign("/login");

export const retry = (): void => connection.retry();

export function start(): void {
  connection.start();
  setInterval(show, SHOW_EVERY_MS); // a signal set to the same value tells nobody
  setInterval(showAges, AGES_EVERY_MS);
}

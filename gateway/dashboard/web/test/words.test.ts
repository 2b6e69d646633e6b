import assert from "node:assert/strict";
import { test } from "node:test";
import { deviceHref, parseRoute } from "../src/route.ts";
import type { LogRow } from "../src/state.ts";
import { linkWords, logWords, presenceWords, resultWords } from "../src/words.ts";
import { device, T0_MS } from "./examples.ts";

const event = (code: string, data = {}, sensor: string | null = null): LogRow => ({
  kind: "event", at_ms: T0_MS, boot_id: "x", seq: 1, code, sensor, data,
});
const gap = (changes: object): LogRow => ({
  kind: "gap", at_ms: T0_MS, boot: 1, boot_id: "x", from: 1, to: 2, count: null, at_most: null, why: "power_loss", ...changes,
});
const CAUSES = [{ name: "reset_cause", title: "", unit: "", decimals: 0, low: 0, high: 9, labels: { "3": "watchdog" }, sensor: "vitals", chip: "vitals" }];

test("events are sentences", () => {
  assert.equal(logWords(event("boot", { reset_cause: 3 }), CAUSES), "Started: watchdog");
  assert.equal(logWords(event("boot", { reset_cause: 3 }), []), "Started: reset cause 3");
  assert.equal(logWords(event("sensor.failed", { errno: 19 }, "climate"), []), "Sensor climate failed (errno 19)");
  assert.equal(logWords(event("samples.missed", { sensor: "climate", count: 1 }), []), "1 sample of climate missed: they were due and could not be taken");
});

test("an event of a kind we do not know is shown as it is", () => {
  assert.equal(logWords(event("door.open", { angle: 30 }, "door"), []), "door.open · door · angle 30");
});

test("a gap says how many and why, or at most how many", () => {
  assert.equal(logWords(gap({ count: 50, why: "full" }), []), "50 samples lost: the board\u2019s memory was full");
  assert.equal(logWords(gap({ at_most: 12 }), []), "Up to 12 samples lost: power loss");
  assert.equal(logWords(gap({ why: "moths" }), []), "Samples lost: moths");
});

test("a command's end is told with its reason", () => {
  const result = { id: "c", name: "ping", data: { uptime_ms: 7 }, error: null };
  assert.equal(resultWords({ ...result, status: "done" }, 32), "Done in 32 ms · uptime_ms 7");
  assert.equal(resultWords({ ...result, status: "failed", error: { code: "x", text: "the LED is gone" } }, 1), "Failed: the LED is gone");
  assert.match(resultWords({ ...result, status: "unknown" }, 1), /nobody knows/);
});

test("presence is told, and not claimed while nobody knows", () => {
  const now_ms = T0_MS + 125_000;
  assert.equal(presenceWords(device(), now_ms, true), "Online for 2 min 5 s");
  assert.equal(presenceWords(device(), now_ms, false), "Was online");
  assert.equal(presenceWords(device({ online: false }), now_ms, true), "Offline, last seen 2 min ago");
  assert.equal(presenceWords(device({ online: false, last_seen_ms: null }), now_ms, true), "Never connected yet");
});

test("the feed's state reads the same during every attempt", () => {
  const tries = { heard_ms: 1, tries: 1, why: "silent" as const };
  assert.equal(linkWords({ kind: "waiting", until_ms: 1, ...tries }), linkWords({ kind: "connecting", since_ms: 1, ...tries }));
});

test("routes go there and back", () => {
  assert.deepEqual(parseRoute(deviceHref("soil-1_b")), { page: "device", id: "soil-1_b" });
  for (const hash of ["", "#/", "#/device/", "#/device/../x", "#/device/A", "#main"]) assert.deepEqual(parseRoute(hash), { page: "devices" });
});

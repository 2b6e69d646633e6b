import assert from "node:assert/strict";
import { test } from "node:test";
import { ACCOUNT_HREF, deviceHref, GATEWAY_HREF, parseRoute } from "../src/route.ts";
import { when } from "../src/format.ts";
import type { Asked, DeviceEvent } from "../src/protocol.ts";
import { askedByWords, askedWords, brokerWords, deliveryWords, eventWords, gapTimes, gapWords, linkWords, lostWords, presenceWords, qualityWords, resultWords } from "../src/words.ts";
import { asked, device, gap, T0_MS } from "./examples.ts";

const event = (code: string, data = {}, sensor: string | null = null): DeviceEvent => ({
  at_ms: T0_MS, boot_id: "x", seq: 1, code, sensor, data,
});
const CAUSES = [{ name: "reset_cause", title: "", unit: "", decimals: 0, low: 0, high: 9, labels: { "3": "watchdog" }, sensor: "vitals", chip: "vitals" }];

test("events are sentences", () => {
  assert.equal(eventWords(event("boot", { reset_cause: 3 }), CAUSES), "Started: watchdog");
  assert.equal(eventWords(event("boot", { reset_cause: 1 }), []), "Started: power on or reset button");
  assert.equal(eventWords(event("boot", { reset_cause: 9 }), []), "Started: reset cause 9");
  assert.equal(eventWords(event("sensor.ok", {}, "climate"), []), "Sensor climate works again");
  assert.equal(eventWords(event("samples.missed", { sensor: "climate", count: 1 }), []), "1 sample of climate missed: they were due and could not be taken");
});

test("a sensor that fails says why", () => {
  const failed = (data: DeviceEvent["data"]) => eventWords(event("sensor.failed", data, "climate"), []);
  assert.equal(failed({ errno: 19, why: "missing", bus: "i2c0", address: 0x76 }), "Sensor climate failed: no chip answers at 0x76");
  assert.equal(failed({ errno: 19, why: "missing", bus: "onewire0" }), "Sensor climate failed: no chip answers on onewire0");
  assert.equal(failed({ errno: 5, why: "range", pin: 34 }), "Sensor climate failed: what it measures is outside of its data sheet\u2019s range");
  assert.equal(failed({ errno: 116, why: "bus_stuck", bus: "i2c0" }), "Sensor climate failed: its bus i2c0 is stuck");
  assert.equal(failed({ errno: 5, why: "crc" }), "Sensor climate failed: what came from it was garbled on the way (CRC error)");
  assert.equal(failed({ errno: 116, why: "busy" }), "Sensor climate failed: it never becomes ready");
  assert.equal(failed({ errno: 19, why: "wrong_chip", address: 8 }), "Sensor climate failed: another chip answers at 0x08 than its profile says");
  assert.equal(failed({ why: "toString" }), "Sensor climate failed: toString");
  assert.equal(failed({ errno: 5 }), "Sensor climate failed: errno 5");
  assert.equal(failed({ error: "NameError: name 'foo' isn't defined" }), "Sensor climate failed: NameError: name 'foo' isn't defined");
});

test("an event of a kind we do not know is shown as it is", () => {
  assert.equal(eventWords(event("door.open", { angle: 30 }, "door"), []), "door.open · door · angle 30");
});

test("a gap says how many and why, or at most how many", () => {
  assert.equal(gapWords(gap({ count: 50 })), "50 samples lost: memory full");
  assert.equal(gapWords(gap({ count: 1, why: "gateway_restored" })), "1 sample lost: the gateway was restored from an older backup");
  assert.equal(gapWords(gap({ to: null, count: null, at_most: 12, why: "power_loss" })), "At most 12 samples lost: power cut");
  assert.equal(gapWords(gap({ from: 1, to: 4, count: null })), "4 samples lost: memory full");
  assert.equal(gapWords(gap({ to: null, count: null, why: "moths" })), "Samples lost: moths");
});

test("a gap says when, as far as that is known", () => {
  const at = (at_ms: number) => when(at_ms, T0_MS);
  assert.equal(gapTimes(gap({ after_ms: T0_MS }), T0_MS), `${at(T0_MS - 11_000)} to ${at(T0_MS)}`);
  assert.equal(gapTimes(gap(), T0_MS), `since ${at(T0_MS - 11_000)}`);
  assert.equal(gapTimes(gap({ before_ms: null, after_ms: T0_MS }), T0_MS), `until ${at(T0_MS)}`);
  assert.equal(gapTimes(gap({ before_ms: null }), T0_MS), `learned of at ${at(T0_MS)}`);
});

test("what is lost is a count, a bound, or between the two", () => {
  const counts = { samples: 9, events: 0, gaps: 2, lost: 114, quarantined: 0, uncertain: 0 };
  assert.equal(lostWords(counts), "114 samples");
  assert.equal(lostWords({ ...counts, uncertain: 114 }), "at most 114 samples");
  assert.equal(lostWords({ ...counts, uncertain: 64 }), "50 to 114 samples");
  const noBound = gap({ to: null, count: null, at_most: null, why: "gateway_restored" });
  assert.equal(lostWords({ ...counts, uncertain: 64 }, [noBound]), "50 samples or more");
  assert.equal(lostWords({ ...counts, lost: 0 }, [noBound]), "unknown how many samples");
});

test("nothing lost is said only where that is true", () => {
  const none = device().counts;
  assert.equal(deliveryWords(device()), "nothing lost");
  assert.equal(deliveryWords(device({ last_seen_ms: null, counts: { ...none, samples: 0 } })), "never seen");
  assert.equal(deliveryWords(device({ counts: { ...none, gaps: 1 } })), "1 gap");
  assert.equal(deliveryWords(device({ counts: { ...none, gaps: 1, lost: 64, uncertain: 64, quarantined: 3 } })), "3 values refused, at most 64 samples lost");
});

test("a time that is certain needs no word", () => {
  assert.deepEqual(["synced", "estimated", "corrected"].map(qualityWords), ["", "time estimated", "time corrected"]);
});

test("a broker says whether it is there, for how long, and why not", () => {
  const broker = { name: "home", url: "", state: "waiting", why: "connection refused", since_ms: T0_MS, published: 0, backlog: 0, aside: 0, last_aside: [] };
  assert.equal(brokerWords(broker, T0_MS + 240_000), "Not connected for 4 min: connection refused");
  assert.equal(brokerWords({ ...broker, state: "connected", why: "" }, T0_MS + 7_200_000), "Connected for 2 h");
});

test("a command's end is told with its reason", () => {
  const result = { id: "c", name: "ping", data: { uptime_ms: 7 }, error: null };
  assert.equal(resultWords({ ...result, status: "done" }, 32), "Done in 32 ms · uptime_ms 7");
  assert.equal(resultWords({ ...result, status: "failed", error: { code: "x", text: "the LED is gone" } }, 1), "Failed: the LED is gone");
  assert.match(resultWords({ ...result, status: "unknown" }, 1), /nobody knows/);
});

test("a command says where it is, and who asked", () => {
  const words = (changes: Partial<Asked>) => askedWords(asked(changes), T0_MS);
  assert.equal(words({}), `waits for the device, until ${when(T0_MS + 10_000, T0_MS)}`);
  assert.equal(words({ state: "sent" }), "sent, waiting for the answer");
  assert.equal(words({ state: "done", ended_ms: T0_MS + 32 }), "done in 32 ms");
  assert.equal(words({ state: "failed", error: { code: "x", text: "the LED is gone" } }), "failed: the LED is gone");
  assert.deepEqual(["page", "cli", "mqtt.home", "other"].map(askedByWords), ["the page", "the command line", "MQTT home", "other"]);
});

test("presence is told, and not claimed while nobody knows", () => {
  const now_ms = T0_MS + 125_000;
  assert.equal(presenceWords(device(), now_ms, true), "Online for 2 min 5 s");
  assert.equal(presenceWords(device(), now_ms, false), "Was online");
  assert.equal(presenceWords(device({ online: false }), now_ms, true), "Offline, last seen 2 min ago");
  const asleep = device({ online: false, asleep_until_ms: T0_MS + 600_000 });
  assert.equal(presenceWords(asleep, now_ms, true), `Asleep, expected at ${when(T0_MS + 600_000, now_ms)}`);
  assert.equal(presenceWords(device({ online: false, last_seen_ms: null }), now_ms, true), "Never connected yet");
});

test("the feed's state reads the same during every attempt", () => {
  const tries = { heard_ms: 1, tries: 1, why: "silent" as const };
  assert.equal(linkWords({ kind: "waiting", until_ms: 1, ...tries }), linkWords({ kind: "connecting", since_ms: 1, ...tries }));
});

test("routes go there and back", () => {
  assert.deepEqual(parseRoute(GATEWAY_HREF), { page: "gateway" });
  assert.deepEqual(parseRoute(ACCOUNT_HREF), { page: "account" });
  assert.deepEqual(parseRoute(deviceHref("soil-1_b")), { page: "device", id: "soil-1_b" });
  for (const hash of ["", "#/", "#/device/", "#/device/../x", "#/device/A", "#main"]) assert.deepEqual(parseRoute(hash), { page: "devices" });
});

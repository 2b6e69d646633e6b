import assert from "node:assert/strict";
import { test } from "node:test";
import { age, bytes, clockMinute, clockTime, date, duration, facts, isoTime, number, reading, staleAfterMs, when } from "../src/format.ts";

const NO_LABELS = { unit: "°C", decimals: 2, labels: {} };

test("numbers have their decimals, a real minus, and thousands in groups", () => {
  assert.equal(number(21.5, 2), "21.50");
  assert.equal(number(-3.14159, 1), "\u22123.1");
  assert.equal(number(1013.25, 2), "1013.25"); // four digits read well in one piece
  assert.equal(number(120345), "120\u202f345");
});

test("a number that rounds to zero has no minus", () => assert.equal(number(-0.001, 2), "0.00"));

test("ages are told in one unit", () => {
  assert.deepEqual(
    [0, 1_499, 4_999, 61_000, 3 * 3_600_000, 47 * 3_600_000, 72 * 3_600_000].map(age),
    ["now", "now", "4 s ago", "1 min ago", "3 h ago", "47 h ago", "3 d ago"],
  );
});

test("an age is never negative, whatever the clocks say", () => assert.equal(age(-5_000), "now"));

test("durations are told in two units at most", () => {
  assert.deepEqual(
    [0, 42_000, 200_000, 3_600_000, 7_500_000, 270 * 3_600_000].map(duration),
    ["0 s", "42 s", "3 min 20 s", "1 h", "2 h 5 min", "11 d 6 h"],
  );
});

test("a value is told in the words of its quantity", () => {
  assert.deepEqual(reading(NO_LABELS, 21.456), { text: "21.46", unit: "°C" });
  assert.deepEqual(reading({ unit: "", decimals: 0, labels: { "1": "power on" } }, 1), { text: "power on", unit: "" });
  assert.deepEqual(reading({ unit: "", decimals: 0, labels: { "1": "power on" } }, 7), { text: "code 7", unit: "" });
  assert.deepEqual(reading({ unit: "B", decimals: 0, labels: {} }, 146_432), { text: "143.0", unit: "KB" });
  assert.deepEqual(reading({ unit: "s", decimals: 0, labels: {} }, 7_500), { text: "2 h 5 min", unit: "" });
});

test("memory is counted as boards count it", () => {
  assert.deepEqual([1023, 1024, 4 * 1024 ** 2].map((size) => Object.values(bytes(size)).join(" ")), ["1023 B", "1.0 KB", "4.0 MB"]);
});

test("a value may be three periods old, and five seconds at least", () => {
  assert.equal(staleAfterMs(100), 5_000);
  assert.equal(staleAfterMs(10_000), 30_000);
});

test("facts are a line of names and values", () => {
  assert.equal(facts({ uptime_ms: 81234, ok: true, rate: 1.25, note: null }), "uptime_ms 81\u202f234 · ok true · rate 1.25 · note null");
  assert.equal(facts({}), "");
});

test("no time that a board claims stops the page", () => {
  for (const at_ms of [2 ** 53, -(2 ** 53), 2 ** 60]) {
    for (const words of [clockTime(at_ms), clockMinute(at_ms), date(at_ms), when(at_ms, 0), isoTime(at_ms)]) assert.ok(words);
  }
});

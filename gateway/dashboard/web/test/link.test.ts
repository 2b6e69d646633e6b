import assert from "node:assert/strict";
import { test } from "node:test";
import { CONNECT_WITHIN_MS, type Link, type LinkEvent, retryDelayMs, SILENT_AFTER_MS, start, step } from "../src/link.ts";

/** Feeds events one after the other; a number lets so many milliseconds pass before the next. */
function play(...script: (number | LinkEvent)[]) {
  let now_ms = 1_000_000;
  let { link, effects } = start(now_ms);
  for (const part of script) {
    if (typeof part === "number") now_ms += part;
    else ({ link, effects } = step(link, part, now_ms, () => 0.5));
  }
  return { link, effects, now_ms };
}

const heard: LinkEvent = { type: "heard" };
const tick: LinkEvent = { type: "tick" };
const closed = (code: number): LinkEvent => ({ type: "closed", code });

function waiting(link: Link) {
  assert.equal(link.kind, "waiting");
  return link as Extract<Link, { kind: "waiting" }>;
}

test("the first frame makes it live", () => assert.equal(play(heard).link.kind, "live"));

test("a feed that falls silent is given up after six seconds, and said to be silent", () => {
  assert.equal(play(heard, SILENT_AFTER_MS - 1, tick).link.kind, "live");
  const { link, effects } = play(heard, SILENT_AFTER_MS, tick);
  assert.equal(waiting(link).why, "silent");
  assert.deepEqual(effects, ["close"]);
});

test("any frame keeps it live", () => assert.equal(play(heard, 5_000, heard, 5_000, tick).link.kind, "live"));

test("the reason stays on the page while it tries again", () => {
  const { link } = play(heard, SILENT_AFTER_MS, tick, 30_000, tick);
  assert.equal(link.kind, "connecting");
  assert.equal(link.kind === "connecting" && link.why, "silent");
});

test("a lost connection is tried again at its time, not before", () => {
  const lost = play(heard, closed(1006));
  assert.equal(waiting(lost.link).until_ms - lost.now_ms, 500);
  assert.deepEqual(play(heard, closed(1006), 499, tick).effects, []);
  assert.deepEqual(play(heard, closed(1006), 500, tick).effects, ["open"]);
});

test("each failed attempt doubles the wait", () => {
  const waits = [0, 1, 2, 3].map((failures) => {
    const script = Array.from({ length: failures }, () => [closed(1006), 60_000, tick]).flat();
    const { link, now_ms } = play(...script, closed(1006));
    return waiting(link).until_ms - now_ms;
  });
  assert.deepEqual(waits, [500, 1_000, 2_000, 4_000]);
});

test("a connection that dies young does not end the back-off, one that lived does", () => {
  const young = play(closed(1006), 60_000, tick, heard, 1_000, closed(4006));
  assert.equal(waiting(young.link).until_ms - young.now_ms, 1_000);
  const old = play(closed(1006), 60_000, tick, heard, 5_000, heard, 6_000, closed(4006));
  assert.equal(waiting(old.link).until_ms - old.now_ms, 500);
});

test("a failed opening asks whether the session has ended; a connection lost later does not", () => {
  assert.deepEqual(play(closed(1006)).effects, ["ask-session"]);
  assert.deepEqual(play(heard, closed(1006)).effects, []);
});

test("without a session it waits for a person", () => {
  assert.equal(play(closed(1006), { type: "unauthorized" }).link.kind, "login");
  assert.equal(play(heard, closed(4401)).link.kind, "login");
  assert.deepEqual(play(heard, closed(4401), 3_600_000, tick).effects, []);
  assert.deepEqual(play(heard, closed(4401), { type: "nudge" }).effects, ["open"]);
});

test("an attempt that brings nothing is given up", () => {
  const { link, effects } = play(CONNECT_WITHIN_MS, tick);
  assert.equal(waiting(link).why, "unreachable");
  assert.deepEqual(effects, ["close"]);
});

test("a nudge ends the wait, and disturbs nothing else", () => {
  assert.deepEqual(play(closed(1006), { type: "nudge" }).effects, ["open"]);
  assert.deepEqual(play(heard, { type: "nudge" }).effects, []);
});

test("why it was closed is told", () => {
  assert.deepEqual([1001, 4006, 1006].map((code) => waiting(play(heard, closed(code)).link).why), ["stopped", "slow", "lost"]);
});

test("the wait is random over its whole span, and bounded", () => {
  assert.equal(retryDelayMs(0, () => 0), 0);
  assert.equal(retryDelayMs(3, () => 1), 8_000);
  assert.equal(retryDelayMs(1_000, () => 1), 30_000);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { gaps, longestStepMs, Trace } from "../src/trace.ts";

const points = (trace: Trace) => [...trace.at_ms].map((at, index) => [at, trace.values[index]]);

test("live points are appended in order", () => {
  const trace = new Trace(300_000, 1);
  trace.push(1000, 1);
  trace.push(2000, 2);
  assert.deepEqual(points(trace), [[1000, 1], [2000, 2]]);
  assert.equal(trace.outdated, false);
});

test("a point of the same instant replaces the last, and an unchanged one draws nothing anew", () => {
  const trace = new Trace(300_000, 1);
  trace.push(1000, 1);
  trace.push(1000, 5);
  assert.deepEqual(points(trace), [[1000, 5]]);
  const { version } = trace;
  trace.push(1000, 5);
  assert.equal(trace.version, version);
});

test("late points go where they belong, and the newest stays the newest", () => {
  const trace = new Trace(300_000, 1);
  [5000, 1000, 3000, 2000, 3000, 4000].forEach((at_ms, index) => trace.push(at_ms, index));
  assert.deepEqual(points(trace), [[1000, 1], [2000, 3], [3000, 4], [4000, 5], [5000, 0]]);
  assert.equal(trace.lastAt_ms, 5000);
  assert.equal(trace.outdated, false);
});

test("a late point of a bucket that is thinned out already asks for the history again", () => {
  const trace = new Trace(300_000, 1000);
  [10_000, 10_500, 12_000].forEach((at_ms) => trace.push(at_ms, at_ms));
  trace.push(10_200, 7);
  assert.equal(trace.length, 3);
  assert.equal(trace.outdated, true);
});

test("a late point from before the chart asks for the history again: what is shown may be ahead of time", () => {
  const trace = new Trace(300_000, 1);
  trace.push(1_000_000, 2);
  trace.push(1000, 1);
  assert.deepEqual(points(trace), [[1_000_000, 2]]);
  assert.equal(trace.outdated, true);
});

test("late points in any order give the line that points in order give", () => {
  let seed = 11;
  const random = () => (seed = (seed * 16_807) % 2_147_483_647);
  const [late, orderly] = [new Trace(1e9, 1), new Trace(1e9, 1)];
  const all = Array.from({ length: 2000 }, (_, index) => index * 10);
  all.forEach((at_ms) => orderly.push(at_ms, at_ms));
  [...all].sort(() => (random() % 2 ? 1 : -1)).forEach((at_ms) => late.push(at_ms, at_ms));
  assert.deepEqual(points(late), points(orderly));
});

test("spans of unsure times are joined, and told where they touch what is shown", () => {
  const trace = new Trace(300_000, 1);
  trace.load([1000, 2000], [1, 2], [{ from_ms: 0, to_ms: 2000, quality: "corrected" }]);
  trace.push(3000, 3, "estimated");
  trace.push(4000, 4, "estimated");
  trace.push(200_000, 5);
  assert.deepEqual(trace.unsure.map((one) => [one.from_ms, one.to_ms, one.quality]), [[0, 2000, "corrected"], [3000, 4000, "estimated"]]);
  assert.deepEqual(trace.unsureWithin(0, Infinity), ["corrected", "estimated"]);
  assert.deepEqual(trace.unsureWithin(3500, 3500), ["estimated"]);
  assert.deepEqual(trace.unsureWithin(5000, Infinity), []);
});

test("history goes before the live points that came meanwhile", () => {
  const trace = new Trace(300_000, 1);
  trace.outdated = true;
  trace.asking();
  trace.push(3000, 3);
  trace.push(4000, 4);
  trace.load([1000, 2000, 3000], [1, null, 3]);
  assert.deepEqual(points(trace), [[1000, 1], [3000, 3], [4000, 4]]);
  assert.equal(trace.outdated, false);
});

test("after the clock was set back, points from the future go, those that come meanwhile stay, and once is enough", () => {
  const trace = new Trace(300_000, 1);
  trace.push(3_600_000, 9);
  trace.push(2000, 2);
  trace.asking();
  trace.push(3000, 3);
  trace.push(4000, 4);
  trace.load([1000, 2000, 3000], [1, 2, 3]);
  trace.push(5000, 5);
  assert.deepEqual(points(trace), [[1000, 1], [2000, 2], [3000, 3], [4000, 4], [5000, 5]]);
  assert.equal(trace.outdated, false);
});

test("an old point that came meanwhile and is not in the history goes where it belongs", () => {
  const trace = new Trace(300_000, 1);
  trace.asking();
  trace.push(1000, 1);
  trace.load([2000, 3000], [2, 3]);
  assert.deepEqual(points(trace), [[1000, 1], [2000, 2], [3000, 3]]);
});

test("times that are corrected while the history is on its way ask for it again", () => {
  const trace = new Trace(300_000, 1);
  trace.asking();
  trace.outdated = true;
  trace.load([1000], [1]);
  assert.equal(trace.outdated, true);
});

test("of one bucket the lowest and the highest stay, in order of time", () => {
  const trace = new Trace(300_000, 1000);
  [5, 7, 6, 9, 1, 4].forEach((value, index) => trace.push(10_000 + index, value));
  assert.deepEqual(points(trace), [[10_003, 9], [10_004, 1]]);
  trace.push(11_000, 3);
  assert.deepEqual(points(trace).at(-1), [11_000, 3]);
});

test("thinning keeps lowest and highest of any bucket", () => {
  let seed = 7;
  const random = () => (seed = (seed * 16_807) % 2_147_483_647);
  const trace = new Trace(1e9, 100);
  const all: [number, number][] = [];
  for (let at_ms = 0; at_ms < 20_000; at_ms += 1 + (random() % 30)) {
    all.push([at_ms, random() % 1000]);
    trace.push(...all.at(-1)!);
  }
  for (let bucket = 0; bucket < 200; bucket++) {
    const inside = all.filter(([at_ms]) => Math.floor(at_ms / 100) === bucket).map(([, value]) => value);
    const kept = points(trace).filter(([at_ms]) => Math.floor(at_ms! / 100) === bucket).map(([, value]) => value!);
    assert.ok(kept.length <= 2);
    assert.equal(Math.min(...kept), Math.min(...inside));
    assert.equal(Math.max(...kept), Math.max(...inside));
  }
  assert.deepEqual([...trace.at_ms], [...trace.at_ms].sort((a, b) => a - b));
});

test("it never grows beyond its bound, and loses the oldest", () => {
  const trace = new Trace(1e12, 1);
  for (let at_ms = 0; at_ms < 30_000; at_ms++) trace.push(at_ms, at_ms);
  assert.equal(trace.length, 4096);
  assert.equal(trace.at_ms.at(-1), 29_999);
  assert.equal(trace.at_ms[0], 30_000 - 4096);
  assert.equal(trace.values[0], 30_000 - 4096);
});

test("what left the window is forgotten, but for the point through which the line comes in", () => {
  const trace = new Trace(10_000, 1);
  for (let at_ms = 0; at_ms <= 30_000; at_ms += 1000) trace.push(at_ms, 0);
  assert.equal(trace.at_ms[0], 19_000);
});

test("lowest and highest are those of the window", () => {
  const trace = new Trace(1e6, 1);
  assert.equal(trace.extent(0), null);
  [9, 3, 5].forEach((value, index) => trace.push(index * 1000, value));
  assert.deepEqual(trace.extent(0), [3, 9]);
  assert.deepEqual(trace.extent(1000), [3, 5]);
  assert.equal(trace.extent(9000), null);
});

test("a line is broken where a sample is missing", () => {
  const at_ms = [0, 1000, 2000, 4000, 5000, 65_000];
  assert.deepEqual(gaps(at_ms, 0, 5, longestStepMs(1000, 0)), [[2, 3], [4, 5]]);
});

test("a thinned line is not broken by its thinning", () => assert.equal(longestStepMs(1000, 144_000), 432_000));

import assert from "node:assert/strict";
import { test } from "node:test";
import { Malformed, parseFrame, parseHistory, parseProblem, parseResult, parseSecret, parseSession, parseTokens, parseUsers } from "../src/parse.ts";
import { asked, device, panel, samples, snapshot, T0_MS } from "./examples.ts";

const parse = (...messages: unknown[]) => parseFrame(JSON.stringify(messages));

test("what FEED.md shows is understood", () => {
  const { messages, problems } = parse(
    snapshot(device()),
    samples([T0_MS], { temperature: [21.5], humidity: [null] }),
    { type: "latest", device: "greenhouse", at_ms: T0_MS, values: { temperature: 21.7 }, provisional: true },
    { type: "quarantine", device: "greenhouse", rows: [{ at_ms: 1, boot_id: "", seq: 1, quantity: null, value: "", code: "frame.columns", reason: "" }] },
    { type: "event", device: "greenhouse", rows: [{ at_ms: 1, boot_id: "", seq: 1, code: "sensor.failed", sensor: "climate", data: { errno: 19 } }] },
    { type: "gap", device: "greenhouse", boot: 16, boot_id: "", from: 900, to: 949, count: 50, at_most: null, why: "full", before_ms: T0_MS, after_ms: null, received_ms: T0_MS },
    { type: "presence", device: "greenhouse", online: false, since_ms: null, last_seen_ms: 5, connection: null, asleep_until_ms: 7 },
    { type: "counts", device: "greenhouse", counts: device().counts },
    { type: "device", device: "greenhouse", info: device() },
    { type: "removed", device: "greenhouse" },
    { type: "corrected", device: "greenhouse", boot: 16, boot_id: "", from: 0, to: 902, moved_ms: -3120 },
    { type: "command", device: "greenhouse", row: asked() },
    { type: "status", ...panel() },
    { type: "heartbeat", at_ms: T0_MS },
  );
  assert.deepEqual(problems, []);
  assert.equal(messages.length, 14);
});

test("a type that is not known yet is passed over in silence", () => {
  assert.deepEqual(parse({ type: "firmware", version: "2" }), { messages: [], problems: [] });
});

test("names of JavaScript's own are no types", () => {
  assert.deepEqual(parse({ type: "toString" }, { type: "__proto__" }), { messages: [], problems: [] });
});

test("unknown fields are passed over", () => {
  assert.equal(parse({ type: "heartbeat", at_ms: 1, mood: "good" }).messages.length, 1);
});

test("a bad message does not cost its neighbours, and is told with its place", () => {
  const { messages, problems } = parse({ type: "heartbeat", at_ms: "soon" }, { type: "removed", device: "greenhouse" });
  assert.equal(messages.length, 1);
  assert.deepEqual(problems, ["heartbeat.at_ms: expected a number"]);
});

test("columns of different length are refused", () => {
  assert.match(parse(samples([1, 2], { temperature: [21.5] })).problems[0]!, /columns of one length/);
});

test("text that is no list of messages is told", () => {
  for (const text of ["", "{", "null", "{}", '"x"', "3"]) assert.equal(parseFrame(text).problems.length, 1, text);
  for (const part of [null, 3, "x", [], {}]) assert.equal(parse(part).problems.length, 1, JSON.stringify(part));
});

test("a deep value is told with its path", () => {
  const bad = device({ latest: { temperature: { value: "warm" as never, at_ms: 1, quality: "synced", provisional: false } } });
  assert.deepEqual(parse(snapshot(bad)).problems, ["snapshot.devices.latest.temperature.value: expected a number"]);
});

test("answers of REST are checked too", () => {
  assert.equal(parseHistory({ from_ms: 1, to_ms: 2, series: { t: { at_ms: [1], value: [null] } }, unsure: [{ from_ms: 1, to_ms: 2, quality: "estimated" }] }).to_ms, 2);
  assert.throws(() => parseHistory({ from_ms: 1, to_ms: 2, series: { t: {} }, unsure: [] }), /at_ms/);
  assert.throws(() => parseResult({ id: "c1", name: "ping", status: "maybe", data: {}, error: null }), /done or failed/);
  assert.deepEqual(parseProblem({ error: { code: "device.offline", text: "It is away." } }), { code: "device.offline", text: "It is away." });
  assert.equal(parseProblem("<html>"), null);
});

test("people are what FEED.md shows, and a role or scope that is not known is no answer", () => {
  const session = { who: "browser", account: "anna", role: "viewer", scope: "read", expires_ms: T0_MS };
  assert.deepEqual(parseSession(session), session);
  assert.equal(parseSession({ ...session, account: null }).account, null);
  assert.throws(() => parseSession({ ...session, scope: "everything" }), Malformed);
  assert.throws(() => parseSession({ ...session, role: undefined }), Malformed);
  const user = { name: "anna", role: "viewer", created_ms: 1, changed_ms: 2, sessions: 2 };
  assert.deepEqual(parseUsers({ users: [user] }), [user]);
  const token = { id: "1f0c9b2e", name: "grafana", scope: "read", account: null, created_ms: 1, expires_ms: null, used_ms: null };
  assert.deepEqual(parseTokens({ tokens: [token] }), [token]);
  assert.equal(parseSecret({ token, secret: "mpygw_x" }), "mpygw_x");
  assert.throws(() => parseSecret({ token }), Malformed);
});

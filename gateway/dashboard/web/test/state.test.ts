import assert from "node:assert/strict";
import { test } from "node:test";
import { type Action, EMPTY, reduce, ROWS_KEPT, type State } from "../src/state.ts";
import type { Asked, Gap, Samples } from "../src/protocol.ts";
import { asked, BOOT_ID, device, gap, panel, refused, samples, snapshot, T0_MS } from "./examples.ts";

const after = (...actions: Action[]): State => actions.reduce((state, action) => reduce(state, action, T0_MS - 5_000), EMPTY);
const greenhouse = (state: State) => state.devices.get("greenhouse")!;
const temperature = (state: State) => greenhouse(state).latest["temperature"]!;
const START = snapshot(device());

test("a snapshot is all that is known of devices", () => {
  const state = after(snapshot(device({ id: "old" })), snapshot(device({ id: "b" }), device({ id: "a" })));
  assert.deepEqual([...state.devices.keys()], ["a", "b"]);
  assert.equal(state.snapshots, 2);
});

test("an empty snapshot says that there is no device, which is not the same as not knowing yet", () => {
  assert.equal(EMPTY.loaded, false);
  assert.equal(after(snapshot()).loaded, true);
});

test("the gateway's clock is known from snapshot and heartbeat", () => {
  assert.equal(after(START).skew_ms, 5_000);
  assert.equal(after(START, { type: "heartbeat", at_ms: T0_MS - 4_000 }).skew_ms, 1_000);
});

test("samples bring the newest value of each quantity", () => {
  const state = after(START, samples([T0_MS + 1000, T0_MS + 2000], { temperature: [22, null], humidity: [null, 48] }));
  const first = { value: 22, at_ms: T0_MS + 1000, quality: "synced", provisional: false, boot_id: BOOT_ID, seq: 101 };
  assert.deepEqual(temperature(state), first);
  assert.equal(greenhouse(state).latest["humidity"]!.value, 48);
  assert.equal(greenhouse(state).newest_at_ms, T0_MS + 2000);
});

test("a backlog never turns the newest value back", () => {
  const state = after(START, samples([T0_MS - 60_000], { temperature: [5] }));
  assert.equal(temperature(state).value, 21.62);
  assert.equal(greenhouse(state).newest_at_ms, T0_MS);
});

const HOUR_MS = 3_600_000;
const AHEAD = samples([T0_MS + HOUR_MS], { temperature: [30] }, { seq: [7] });

test("within one boot the sequence decides: a clock that is set back does not freeze the newest value", () => {
  const state = after(START, AHEAD, samples([T0_MS + 1000], { temperature: [22] }, { seq: [8] }));
  assert.equal(temperature(state).value, 22);
  assert.equal(greenhouse(state).newest_at_ms, T0_MS + 1000);
  assert.equal(temperature(after(START, AHEAD, samples([T0_MS + 2 * HOUR_MS], { temperature: [5] }, { seq: [6] }))).value, 30);
});

const other = (at_ms: number) => samples([at_ms], { temperature: [22] }, { seq: [8], boot_id: "0c5d9be1f2a34477" });

test("between boots the time decides", () => {
  const live = samples([T0_MS + 2000], { temperature: [30] }, { seq: [7] });
  assert.equal(temperature(after(START, live, other(T0_MS + 1000))).value, 30);
  assert.equal(temperature(after(START, live, other(T0_MS + 2000))).value, 22);
});

test("a boot that began after the clock was set back is shown at once, as the gateway does", () => {
  assert.equal(temperature(after(START, AHEAD, other(T0_MS + 1000))).value, 22);
});

test("what a snapshot brings from ahead of the gateway's clock gives way to the first live sample", () => {
  const shown = (ahead_ms: number) => {
    const latest = { temperature: { value: 30, at_ms: T0_MS + ahead_ms, quality: "synced", provisional: false } };
    return temperature(after(snapshot(device({ latest })), samples([T0_MS + 1000], { temperature: [22] }))).value;
  };
  assert.equal(shown(HOUR_MS), 22);
  assert.equal(shown(30_000), 30);
});

test("a provisional value is shown until the committed one has caught up", () => {
  const ahead: Action = { type: "latest", device: "greenhouse", at_ms: T0_MS + 9000, values: { temperature: 25, humidity: null } };
  const state = after(START, ahead, samples([T0_MS + 1000], { temperature: [22] }));
  assert.equal(temperature(state).value, 25);
  assert.equal(temperature(state).provisional, true);
  assert.equal(greenhouse(state).latest["humidity"], undefined);
  assert.equal(temperature(reduce(state, samples([T0_MS + 9000], { temperature: [25] }), T0_MS)).provisional, false);
});

test("rows are kept newest first, once each, and not without bound", () => {
  const rows = (from: number, many: number) => Array.from({ length: many }, (_, i) => refused(from + i, T0_MS + from + i));
  const state = after(
    START,
    { type: "quarantine", device: "greenhouse", rows: rows(50, 10) },
    { type: "refused.loaded", device: "greenhouse", rows: rows(0, 300) },
  );
  const seqs = greenhouse(state).refused.map((row) => row.seq);
  assert.equal(seqs.length, ROWS_KEPT);
  assert.deepEqual(seqs.slice(0, 2), [299, 298]);
  assert.equal(new Set(seqs).size, ROWS_KEPT);
});

test("rows outlive a reconnect", () => {
  const state = after(START, { type: "quarantine", device: "greenhouse", rows: [refused(1, T0_MS)] }, START);
  assert.equal(greenhouse(state).refused.length, 1);
});

const told = (changes: Partial<Gap> = {}): Action => ({ type: "gap", device: "greenhouse", ...gap(changes) });

test("a gap is kept once, and what REST knows of it replaces what was told", () => {
  const rows = [gap({ from: 0, to: 9, received_ms: T0_MS - 60_000 }), gap({ after_ms: T0_MS })];
  const { gaps, revision } = greenhouse(after(START, told(), told(), { type: "gaps.loaded", device: "greenhouse", rows }));
  assert.deepEqual(gaps.map((one) => [one.from, one.after_ms]), [[90, T0_MS], [0, null]]);
  assert.equal(revision, 2, "REST is to be asked");
});

test("samples that follow a gap tell when it ended", () => {
  const ended = (one: Partial<Gap>, changes: Partial<Samples> = {}) =>
    greenhouse(after(START, told(one), samples([T0_MS + 1000], { temperature: [22] }, changes))).gaps[0]!.after_ms;
  assert.equal(ended({}), T0_MS + 1000);
  assert.equal(ended({ to: 101 }), null, "of before the gap");
  assert.equal(ended({ boot_id: "x" }), null, "of another boot");
  assert.equal(ended({ to: null }), null, "of the boot that ended");
  assert.equal(ended({ to: null, boot_id: "x" }), T0_MS + 1000);
});

test("a correction moves the newest values it means, and asks for what REST knows", () => {
  const live = samples([T0_MS + 1000], { temperature: [22] }, { quality: "estimated" });
  const corrected = (from: number, to: number): Action => ({ type: "corrected", device: "greenhouse", boot_id: BOOT_ID, from, to, moved_ms: -700 });
  const state = after(START, live, corrected(0, 100), corrected(101, 200));
  assert.deepEqual([temperature(state).at_ms, temperature(state).quality], [T0_MS + 300, "corrected"]);
  assert.equal(greenhouse(state).revision, 2);
  const right = samples([T0_MS + 1000], { temperature: [22] }, { quality: "corrected" }); // told when it was corrected already
  assert.equal(temperature(after(START, right, corrected(101, 200))).at_ms, T0_MS + 1000);
});

test("commands are kept newest first, and an end is an end", () => {
  const told = (changes: Partial<Asked>): Action => ({ type: "command", device: "greenhouse", row: asked(changes) });
  const done = { state: "done" as const, ended_ms: T0_MS + 32 };
  const state = after(
    START,
    told({}),
    told({ id: "c2", asked_ms: T0_MS + 1000 }),
    told(done),
    { type: "commands.loaded", device: "greenhouse", rows: [asked({ state: "sent" }), asked({ id: "c0", asked_ms: T0_MS - 1000, ...done })] },
  );
  assert.deepEqual(greenhouse(state).asked.map((one) => [one.id, one.state]), [["c2", "queued"], ["c1", "done"], ["c0", "done"]]);
});

test("commands asked for in one millisecond are newest first, too", () => {
  const told = (id: string): Action => ({ type: "command", device: "greenhouse", row: asked({ id }) });
  assert.deepEqual(greenhouse(after(START, told("c1"), told("c2"), told("c1"))).asked.map((one) => one.id), ["c2", "c1"]);
});

test("what the gateway says of itself outlives a reconnect", () => {
  const notice = { level: "error" as const, text: "The disk is full.", since_ms: T0_MS, id: "a" };
  const state = after(START, { type: "status", ...panel({ notices: [notice] }) }, START);
  assert.deepEqual(state.panel?.notices, [notice]);
  assert.deepEqual(reduce(state, { type: "notice.dismissed", id: "a" }, T0_MS).panel?.notices, []);
});

test("presence and counts replace what was known", () => {
  const counts = { samples: 9, events: 8, gaps: 7, lost: 6, quarantined: 5, uncertain: 4 };
  const state = after(
    START,
    { type: "presence", device: "greenhouse", online: false, since_ms: null, last_seen_ms: 7, connection: null, asleep_until_ms: null },
    { type: "counts", device: "greenhouse", counts },
  );
  assert.equal(greenhouse(state).online, false);
  assert.deepEqual(greenhouse(state).counts, counts);
});

test("devices come and go", () => {
  const state = after(START, { type: "device", device: "attic", info: device({ id: "attic" }) }, { type: "removed", device: "greenhouse" });
  assert.deepEqual([...state.devices.keys()], ["attic"]);
});

test("news of a device that was revoked a moment ago changes nothing", () => {
  const state = after(START);
  const late: Action = { type: "counts", device: "gone", counts: device().counts };
  assert.equal(reduce(state, late, T0_MS), state);
});

test("what was known before is left as it was", () => {
  const before = after(START);
  const shown = structuredClone(temperature(before));
  reduce(before, samples([T0_MS + 1000], { temperature: [30] }), T0_MS);
  assert.deepEqual(temperature(before), shown);
});

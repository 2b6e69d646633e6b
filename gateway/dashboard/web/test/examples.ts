// Messages as FEED.md shows them.

import type { Asked, Device, Gap, Panel, Samples } from "../src/protocol.ts";

export const T0_MS = 1_790_000_000_000;
export const BOOT_ID = "9f3c11d2c01b6a55";

export function device(changes: Partial<Device> = {}): Device {
  return {
    id: "greenhouse",
    node: "climate-node",
    title: "Climate node",
    hardware: "a4cf12b0c3d4",
    added_ms: T0_MS,
    online: true,
    since_ms: T0_MS,
    last_seen_ms: T0_MS,
    newest_at_ms: T0_MS,
    sensors: [
      {
        name: "climate",
        chip: "bme280",
        period_ms: 1000,
        quantities: [
          { name: "temperature", title: "Temperature", unit: "°C", decimals: 2, low: -40, high: 85, labels: {}, sensor: "climate", chip: "bme280" },
        ],
      },
    ],
    latest: { temperature: { value: 21.62, at_ms: T0_MS, quality: "synced", provisional: false } },
    counts: { samples: 1, events: 0, gaps: 0, lost: 0, quarantined: 0, uncertain: 0 },
    connection: null,
    waits_ms: 0,
    asleep_until_ms: null,
    commands: [
      {
        name: "identify",
        title: "Blink",
        args: [{ name: "seconds", title: "Seconds", type: "integer", low: 1, high: 60, default: 5 }],
      },
    ],
    ...changes,
  };
}

export function snapshot(...devices: Device[]) {
  return { type: "snapshot" as const, gateway: "gw-7f3a", version: "0.1.0", at_ms: T0_MS, devices };
}

export function samples(at_ms: number[], values: Samples["values"], changes: Partial<Samples> = {}): Samples {
  const seq = at_ms.map((at) => (at - T0_MS) / 1000 + 100);
  return { type: "samples", device: "greenhouse", boot_id: BOOT_ID, seq, at_ms, quality: "synced", values, ...changes };
}

export const gap = (changes: Partial<Gap> = {}): Gap => ({
  boot: 17,
  boot_id: BOOT_ID,
  from: 90,
  to: 99,
  count: 10,
  at_most: null,
  why: "full",
  before_ms: T0_MS - 11_000,
  after_ms: null,
  received_ms: T0_MS,
  ...changes,
});

export const asked = (changes: Partial<Asked> = {}): Asked => ({
  id: "c1",
  name: "identify",
  args: { seconds: 5 },
  asked_by: "page",
  asked_ms: T0_MS,
  deadline_ms: T0_MS + 10_000,
  state: "queued",
  ended_ms: null,
  data: {},
  error: null,
  ...changes,
});

export const panel = (changes: Partial<Panel> = {}): Panel => ({
  notices: [],
  store: { trouble: "", samples: 9, bytes: 4096, queue: 0, commit_ms: 20, last_commit_ms: 3.1, disk_free_bytes: null, pruned_samples: 0, untaken: { home: 5 } },
  brokers: [
    { name: "home", url: "mqtt://127.0.0.1", state: "connected", why: "", since_ms: T0_MS, published: 7, backlog: null, aside: 1, last_aside: [{ topic: "a", why: "too large" }] },
  ],
  door: { trouble: "", connections: 3, strangers: 1, bad_tokens: 2, failed_tls: 0, crowded_out: 0 },
  ...changes,
});

export const refused = (seq: number, at_ms: number) => ({
  at_ms,
  boot_id: BOOT_ID,
  seq,
  quantity: "temperature",
  value: "140.2",
  code: "value.range",
  reason: "temperature 140.2 is outside -40..85 °C",
});

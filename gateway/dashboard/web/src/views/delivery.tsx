// What arrived, what did not, and over which connection.

import type { ComponentChildren } from "preact";
import { bytes, count, number } from "../format.ts";
import type { DeviceState } from "../state.ts";
import { lostWords, NOT_MEASURED } from "../words.ts";

const CLOCK: Record<string, string> = {
  synced: "in step with the gateway",
  corrected: "in step with the gateway",
  estimated: "not known yet",
};

/** How the newest values got their times. */
function timesWords(device: DeviceState): string {
  const qualities = new Set(Object.values(device.latest).map((latest) => latest.quality));
  if (!qualities.size) return NOT_MEASURED;
  if (qualities.has("estimated")) return "estimated by arrival";
  return qualities.has("corrected") ? "corrected later" : "as they were taken";
}

export function Delivery({ device }: { device: DeviceState }) {
  const { counts, connection } = device;
  const size = connection && bytes(connection.bytes_in);
  return (
    <section class="card" aria-labelledby="delivery">
      <h2 id="delivery">Delivery</h2>
      <dl class="facts">
        <Fact name="Stored">{count(counts.samples, "sample")}</Fact>
        <Fact name="Lost" warn={counts.lost > 0 || counts.gaps > 0}>
          {counts.gaps ? `${lostWords(counts, device.gaps)} in ${count(counts.gaps, "gap")}` : device.last_seen_ms === null && !counts.samples ? NOT_MEASURED : "none"}
        </Fact>
        <Fact name="Refused" warn={counts.quarantined > 0}>
          {counts.quarantined ? count(counts.quarantined, "value") : "none"}
        </Fact>
        <Fact name="Rate">{connection ? `${number(connection.rate, 1)} samples/s` : NOT_MEASURED}</Fact>
        <Fact name="Clock">{connection?.clock ? (CLOCK[connection.clock] ?? connection.clock) : NOT_MEASURED}</Fact>
        <Fact name="Times">{timesWords(device)}</Fact>
        <Fact name="Round trip">{connection?.rtt_ms != null ? `${number(connection.rtt_ms, 1)} ms` : NOT_MEASURED}</Fact>
        <Fact name="Received">{size && connection ? `${size.text} ${size.unit} in ${count(connection.frames, "frame")}` : NOT_MEASURED}</Fact>
        {connection && Object.keys(connection.errors).length > 0 && (
          <Fact name="Errors" warn>
            {Object.entries(connection.errors)
              .map(([code, many]) => `${code} \u00d7 ${number(many)}`)
              .join(", ")}
          </Fact>
        )}
        <Fact name="Address">{connection?.address ?? NOT_MEASURED}</Fact>
        <Fact name="Firmware">{connection?.firmware || NOT_MEASURED}</Fact>
        <Fact name="Hardware">{device.hardware ?? NOT_MEASURED}</Fact>
      </dl>
    </section>
  );
}

export function Fact({ name, warn = false, children }: { name: string; warn?: boolean; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={warn ? "warn" : ""}>{children}</dd>
    </div>
  );
}

// What was refused and what happened, newest first.

import { useMemo } from "preact/hooks";
import { isoTime, when } from "../format.ts";
import type { DeviceEvent, Gap, Quantity, Refused } from "../protocol.ts";
import { gapKey } from "../state.ts";
import { now_ms } from "../store.ts";
import { eventWords, gapTimes, gapWords } from "../words.ts";
import { useFew } from "./parts.tsx";

const WARNINGS = new Set(["sensor.failed", "samples.missed", "frame.refused", "boots.forgotten"]);

export function Quarantine({ rows, quantities }: { rows: readonly Refused[]; quantities: readonly Quantity[] }) {
  const [shown, more] = useFew(rows, "refused values");
  const table = useMemo(
    () =>
      shown.map((row) => (
        <tr key={`${row.boot_id} ${row.seq} ${row.quantity} ${row.code}`}>
          <td class="time">{when(row.at_ms, now_ms.peek())}</td>
          <td class="what">{row.quantity === null ? "whole frame" : titleOf(row.quantity, quantities)}</td>
          <td class="raw" title={row.value}>
            {row.value}
          </td>
          <td class="why">
            {row.reason} <code>{row.code}</code>
          </td>
        </tr>
      )),
    [rows, shown.length],
  );
  return (
    <section class="card" aria-labelledby="quarantine">
      <h2 id="quarantine">Quarantine</h2>
      {rows.length ? (
        <table>
          <caption class="hidden">Values that were refused, newest first</caption>
          <thead>
            <tr>
              <th scope="col">Taken</th>
              <th scope="col">Quantity</th>
              <th scope="col">Value</th>
              <th scope="col">Reason</th>
            </tr>
          </thead>
          <tbody>{table}</tbody>
        </table>
      ) : (
        <p class="nothing">Nothing was refused. A value that its sensor cannot produce is kept here, with the reason, and not in the charts.</p>
      )}
      {more}
    </section>
  );
}

const titleOf = (name: string, quantities: readonly Quantity[]): string =>
  quantities.find((quantity) => quantity.name === name)?.title ?? name;

/** Samples that no longer exist. */
export function LostSamples({ rows, never }: { rows: readonly Gap[]; never: boolean }) {
  const [shown, more] = useFew(rows, "gaps");
  const list = useMemo(
    () =>
      shown.map((gap) => (
        <li key={gapKey(gap)}>
          <span class="time">{gapTimes(gap, now_ms.peek())}</span>
          <span class="warn">{gapWords(gap)}</span>
        </li>
      )),
    [rows, shown.length],
  );
  return (
    <section class="card" aria-labelledby="lost">
      <h2 id="lost">Lost</h2>
      {rows.length ? (
        <ol class="log wide">{list}</ol>
      ) : (
        <p class="nothing">{never ? "This device was never here." : "Nothing is lost. Samples that no longer exist are counted here, with the reason."}</p>
      )}
      {more}
    </section>
  );
}

export function Log({ rows, quantities }: { rows: readonly DeviceEvent[]; quantities: readonly Quantity[] }) {
  const [shown, more] = useFew(rows, "events");
  const list = useMemo(
    () =>
      shown.map((row) => (
        <li key={`${row.boot_id} ${row.seq}`}>
          <time class="time" dateTime={isoTime(row.at_ms)}>
            {when(row.at_ms, now_ms.peek())}
          </time>
          <span class={WARNINGS.has(row.code) ? "warn" : ""}>{eventWords(row, quantities)}</span>
        </li>
      )),
    [rows, shown.length],
  );
  return (
    <section class="card" aria-labelledby="events">
      <h2 id="events">Events</h2>
      {rows.length ? <ol class="log">{list}</ol> : <p class="nothing">Nothing has happened yet.</p>}
      {more}
    </section>
  );
}

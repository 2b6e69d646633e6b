// One device: its charts, health, commands, and what was refused, lost or happened.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { readingText } from "../format.ts";
import { RANGES, type Range, USUAL_RANGE, usePlots } from "../plots.ts";
import type { Quantity } from "../protocol.ts";
import { isDrawn, isVitals, periodOf, quantitiesOf } from "../quantities.ts";
import * as rest from "../rest.ts";
import { DEVICES_HREF } from "../route.ts";
import type { DeviceState } from "../state.ts";
import { act, gatewayNow_ms, link, now_ms, state } from "../store.ts";
import type { Trace } from "../trace.ts";
import { NOT_MEASURED, presenceWords } from "../words.ts";
import { Commands } from "./commands.tsx";
import { Delivery } from "./delivery.tsx";
import { Age, Dot, Line, pointWords, Value } from "./parts.tsx";
import { Log, Quarantine } from "./records.tsx";

/** Points per line: about one for each pixel of a wide screen. */
const POINTS = 1_200;

const range = signal<Range>(USUAL_RANGE);

export function DevicePage({ id }: { id: string }) {
  const { loaded, devices } = state.value;
  const device = devices.get(id);
  if (device) return <Shown device={device} />;
  return (
    <>
      <Back />
      <div class="page-head">
        <h1 tabIndex={-1}>{id}</h1>
        <p class="muted">{loaded ? "There is no such device, or not any more." : "Waiting for the gateway\u2026"}</p>
      </div>
    </>
  );
}

function Back() {
  return (
    <nav aria-label="Breadcrumb">
      <a class="back" href={DEVICES_HREF}>
        <span aria-hidden="true">&larr;</span> All devices
      </a>
    </nav>
  );
}

function Shown({ device }: { device: DeviceState }) {
  const drawn = quantitiesOf(device.sensors).filter(isDrawn);
  const traces = usePlots(device.id, drawn, range.value.span_ms, POINTS);
  useRecords(device.id);
  const world = device.sensors.filter((sensor) => !isVitals(sensor));
  const vitals = device.sensors.filter(isVitals);

  return (
    <>
      <Back />
      <div class="page-head">
        <h1 tabIndex={-1}>{device.id}</h1>
        <p class="presence">
          <Dot online={device.online} />
          {presenceWords(device, now_ms.value, link.value.kind === "live")}
        </p>
        <p class="muted">{device.title}</p>
      </div>
      <div class="device-page">
        <section class="readings" aria-labelledby="readings">
          <div class="section-head">
            <h2 id="readings">Readings</h2>
            <Ranges />
          </div>
          {quantitiesOf(world).map((quantity) => (
            <Panel key={quantity.name} device={device} quantity={quantity} trace={traces.get(quantity.name)} />
          ))}
          {!world.length && <p class="nothing">The gateway does not know what this device measures: its profile is gone.</p>}
        </section>
        <div class="aside">
          <Commands device={device} />
          {vitals.length > 0 && (
            <section class="card" aria-labelledby="vitals">
              <h2 id="vitals">Vitals</h2>
              <div class="vitals">
                {quantitiesOf(vitals).map((quantity) => (
                  <Vital key={quantity.name} device={device} quantity={quantity} trace={traces.get(quantity.name)} />
                ))}
              </div>
            </section>
          )}
          <Delivery device={device} />
        </div>
        <div class="records">
          <Quarantine rows={device.refused} quantities={quantitiesOf(device.sensors)} />
          <Log rows={device.log} quantities={quantitiesOf(device.sensors)} />
        </div>
      </div>
    </>
  );
}

/** What the feed does not tell about the past: asked for at every snapshot. */
function useRecords(id: string): void {
  const { snapshots } = state.value;
  useEffect(() => {
    // Failing is fine: the feed brings new rows, and the header says what is wrong with the gateway.
    rest.quarantine(id).then((rows) => act({ type: "refused.loaded", device: id, rows }), () => {});
    rest.events(id).then((rows) => act({ type: "events.loaded", device: id, rows }), () => {});
  }, [id, snapshots]);
}

function Ranges() {
  return (
    <fieldset class="ranges">
      <legend class="hidden">Time shown</legend>
      {RANGES.map((one) => (
        <label key={one.name}>
          <input type="radio" name="range" checked={range.value === one} onChange={() => (range.value = one)} />
          <span>{one.name}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface PanelProps {
  device: DeviceState;
  quantity: Quantity;
  trace: Trace | undefined;
}

function Panel({ device, quantity, trace }: PanelProps) {
  const hover = useRef<HTMLParagraphElement>(null);
  const period_ms = periodOf(device, quantity);
  const latest = device.latest[quantity.name];
  const refused = useMemo(
    () => device.refused.filter((row) => row.quantity === quantity.name).map((row) => row.at_ms),
    [device.refused],
  );
  const refusedAt = useRef(refused);
  refusedAt.current = refused;
  const id = `panel-${quantity.name}`;

  return (
    <section class="panel" aria-labelledby={id}>
      <div class="panel-head">
        <h3 id={id}>{quantity.title}</h3>
        <p class="panel-value">
          <Value quantity={quantity} latest={latest} period_ms={period_ms} />
        </p>
        <p class="panel-age">
          <Age at_ms={latest?.at_ms} period_ms={period_ms} />
          {latest?.provisional && (
            <span class="tag" title="Sent ahead of older samples that are still on their way; not stored yet">
              provisional
            </span>
          )}
        </p>
        <Extent quantity={quantity} trace={trace} newest_ms={latest?.at_ms} />
      </div>
      {trace ? (
        <div class="panel-chart">
          <Line
            key={trace.span_ms}
            quantity={quantity}
            period_ms={period_ms}
            trace={trace}
            group={device.id}
            label={`Chart of ${quantity.title}, the last ${range.value.name}`}
            refusedAt={() => refusedAt.current}
            onHover={(point) => {
              if (hover.current) hover.current.textContent = point ? pointWords(quantity, point) : "";
            }}
          />
          <p ref={hover} class="hover" aria-hidden="true" />
        </div>
      ) : (
        <p class="nothing">Shown as words only.</p>
      )}
    </section>
  );
}

/** Lowest and highest value in the chart; told anew with every newest value, which is one of them. */
function Extent({ quantity, trace }: { quantity: Quantity; trace: Trace | undefined; newest_ms: number | undefined }) {
  void now_ms.value; // once a second
  const [low, high] = trace?.extent(gatewayNow_ms() - trace.span_ms)?.map((value) => readingText(quantity, value)) ?? [];
  return (
    <p class="extent">
      <span>
        <span class="muted">low</span> {low ?? NOT_MEASURED}
      </span>
      <span>
        <span class="muted">high</span> {high ?? NOT_MEASURED}
      </span>
    </p>
  );
}

function Vital({ device, quantity, trace }: PanelProps) {
  const period_ms = periodOf(device, quantity);
  return (
    <div class="vital">
      <h3>{quantity.title}</h3>
      <p>
        <Value quantity={quantity} latest={device.latest[quantity.name]} period_ms={period_ms} />
      </p>
      {trace && (
        <Line
          key={trace.span_ms}
          small
          quantity={quantity}
          period_ms={period_ms}
          trace={trace}
          label={`Chart of ${quantity.title}, the last ${range.value.name}`}
        />
      )}
    </div>
  );
}

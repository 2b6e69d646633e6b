// One device: its charts, health, commands, and what was refused, lost or happened.

import { signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { readingText } from "../format.ts";
import { RANGES, type Range, USUAL_RANGE, usePlots } from "../plots.ts";
import type { Gap, Quantity } from "../protocol.ts";
import { arrivesEvery, isDrawn, isVitals, periodOf, quantitiesOf } from "../quantities.ts";
import * as rest from "../rest.ts";
import { DEVICES_HREF } from "../route.ts";
import type { DeviceState } from "../state.ts";
import { act, gatewayNow_ms, link, now_ms, state } from "../store.ts";
import type { Trace } from "../trace.ts";
import { gapTimes, gapWords, NOT_MEASURED, presenceWords, qualityWords } from "../words.ts";
import { Commands } from "./commands.tsx";
import { Delivery } from "./delivery.tsx";
import { Age, Dot, Line, pointWords, Tags, Value, walk } from "./parts.tsx";
import { Log, LostSamples, Quarantine } from "./records.tsx";

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
  useRecords(device);
  const world = device.sensors.filter((sensor) => !isVitals(sensor));
  const vitals = device.sensors.filter(isVitals);

  return (
    <>
      <Back />
      <div class="page-head">
        <h1 tabIndex={-1}>{device.id}</h1>
        <p class="presence">
          <Dot device={device} />
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
          <LostSamples rows={device.gaps} never={device.last_seen_ms === null && !device.counts.samples} />
          <Quarantine rows={device.refused} quantities={quantitiesOf(device.sensors)} />
          <Log rows={device.events} quantities={quantitiesOf(device.sensors)} />
        </div>
      </div>
    </>
  );
}

/** A backlog may bring many gaps, and a correction many pieces: they are asked about together. */
const ASK_AFTER_MS = 1_000;

/** What the feed does not tell about the past: asked for at every snapshot, and when it knows more. */
function useRecords({ id, revision }: DeviceState): void {
  const { snapshots } = state.value;
  const known = useRef(revision);

  useEffect(() => {
    if (known.current === revision) return; // as of the snapshot
    known.current = revision;
    const timer = setTimeout(() => askGaps(id), ASK_AFTER_MS);
    return () => clearTimeout(timer);
  }, [revision]);

  useEffect(() => {
    askGaps(id);
    // Failing is fine: the feed brings new rows, and the header says what is wrong with the gateway.
    rest.quarantine(id).then((rows) => act({ type: "refused.loaded", device: id, rows }), () => {});
    rest.commands(id).then((rows) => act({ type: "commands.loaded", device: id, rows }), () => {});
    rest.events(id).then((rows) => act({ type: "events.loaded", device: id, rows }), () => {});
  }, [id, snapshots]);
}

function askGaps(id: string): void {
  rest.gaps(id).then((rows) => act({ type: "gaps.loaded", device: id, rows }), () => {}); // failing is fine here, too
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
  const lostHost = useRef<HTMLDivElement>(null);
  const period_ms = periodOf(device, quantity);
  const latest = device.latest[quantity.name];
  const refused = useMemo(
    () => device.refused.filter((row) => row.quantity === quantity.name).map((row) => row.at_ms),
    [device.refused],
  );
  const refusedAt = useRef(refused);
  refusedAt.current = refused;
  const lost = useLost(device.gaps);
  const id = `panel-${quantity.name}`;
  const tell = (words: string) => {
    if (hover.current) hover.current.textContent = words;
  };

  return (
    <section class="panel" aria-labelledby={id}>
      <div class="panel-head">
        <h3 id={id}>{quantity.title}</h3>
        <p class="panel-value">
          <Value quantity={quantity} latest={latest} period_ms={arrivesEvery(device, quantity)} />
        </p>
        <p class="panel-age">
          <Age at_ms={latest?.at_ms} period_ms={arrivesEvery(device, quantity)} />
          <Tags latest={latest} />
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
            lost={lost}
            lostHost={lostHost}
            onHover={(point) => tell(point ? pointWords(quantity, trace, point) : "")}
          />
          <div ref={lostHost} class="lost" onKeyDown={walk("span")}>
            {lost().map(({ gap }, index) => (
              <LostSpan key={index} gap={gap} first={index === 0} tell={tell} />
            ))}
          </div>
          <p ref={hover} class="hover" aria-hidden="true" />
        </div>
      ) : (
        <p class="nothing">Shown as words only.</p>
      )}
    </section>
  );
}

interface LostShown {
  from_ms: number;
  to_ms: number | null;
  gap: Gap;
}

/** What was lost, as far as it is known when; the same list as long as the gaps are the same. */
function useLost(gaps: readonly Gap[]): () => readonly LostShown[] {
  const lost = useRef<readonly LostShown[]>([]);
  lost.current = useMemo(
    () => gaps.flatMap((gap) => (gap.before_ms === null ? [] : [{ from_ms: gap.before_ms, to_ms: gap.after_ms, gap }])),
    [gaps],
  );
  return () => lost.current;
}

/** Lies over a chart where samples were lost, and tells what happened when it is pointed at or has the focus. */
function LostSpan({ gap, first, tell }: { gap: Gap; first: boolean; tell: (words: string) => void }) {
  const words = `${gapWords(gap)}, ${gapTimes(gap, now_ms.peek())}`;
  const show = () => tell(words);
  const hide = () => tell("");
  return (
    <span
      role="img"
      aria-label={words}
      tabIndex={first ? 0 : -1}
      onPointerEnter={show}
      onPointerLeave={hide}
      onFocus={show}
      onBlur={hide}
    />
  );
}

/** Lowest and highest value in the chart; told anew with every newest value, which is one of them. */
function Extent({ quantity, trace }: { quantity: Quantity; trace: Trace | undefined; newest_ms: number | undefined }) {
  void now_ms.value; // once a second
  const since_ms = gatewayNow_ms() - (trace?.span_ms ?? 0);
  const [low, high] = trace?.extent(since_ms)?.map((value) => readingText(quantity, value)) ?? [];
  const unsure = trace?.unsureWithin(since_ms, Infinity).map(qualityWords) ?? [];
  return (
    <p class="extent">
      {unsure.length > 0 && <span class="muted">some: {unsure.join(", ")}</span>}
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
  const lost = useLost(device.gaps);
  return (
    <div class="vital">
      <h3>{quantity.title}</h3>
      <p>
        <Value quantity={quantity} latest={device.latest[quantity.name]} period_ms={arrivesEvery(device, quantity)} />
      </p>
      {trace && (
        <Line
          key={trace.span_ms}
          small
          quantity={quantity}
          period_ms={period_ms}
          trace={trace}
          lost={lost}
          label={`Chart of ${quantity.title}, the last ${range.value.name}`}
        />
      )}
    </div>
  );
}

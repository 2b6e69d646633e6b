// Lines of one device over one span of time: history from REST, then live; loaded again when it may have a hole.

import { useEffect, useMemo } from "preact/hooks";
import { HOUR_MS, MINUTE_MS } from "./format.ts";
import type { Quantity } from "./protocol.ts";
import * as rest from "./rest.ts";
import { AHEAD_MS } from "./state.ts";
import { follow, gatewayNow_ms, state } from "./store.ts";
import { Trace } from "./trace.ts";

export interface Range {
  name: string;
  span_ms: number;
}

export const USUAL_RANGE: Range = { name: "5 min", span_ms: 5 * MINUTE_MS };

export const RANGES: readonly Range[] = [
  { name: "1 min", span_ms: MINUTE_MS },
  USUAL_RANGE,
  { name: "1 h", span_ms: HOUR_MS },
  { name: "24 h", span_ms: 24 * HOUR_MS },
];

const LOOK_EVERY_MS = 3_000;
const RETRY_AFTER_MS = 5_000;

/**
 * One trace per quantity, kept up to date while the component is shown. `max_points`: of each line.
 * `only`: load this one quantity instead of all.
 */
export function usePlots(
  device: string,
  quantities: readonly Quantity[],
  span_ms: number,
  max_points: number,
  only?: string,
): ReadonlyMap<string, Trace> {
  const names = quantities.map((quantity) => quantity.name).join(" ");
  // Of each bucket two points stay, the lowest and the highest.
  const bucket_ms = (2 * span_ms) / max_points;
  const traces = useMemo(
    () => new Map(quantities.map(({ name }) => [name, new Trace(span_ms, bucket_ms)])),
    [device, names, span_ms, max_points],
  );
  const { snapshots } = state.value;

  useEffect(() => {
    const stops = [...traces].map(([name, trace]) => follow(device, name, trace));
    return () => stops.forEach((stop) => stop());
  }, [traces]);

  useEffect(() => {
    if (!snapshots) return;
    let shown = true;
    let timer = 0;
    const later = (wait_ms: number) => (timer = setTimeout(look, wait_ms));
    const load = async () => {
      try {
        for (const trace of traces.values()) trace.asking();
        const now_ms = gatewayNow_ms();
        const { series, unsure } = await rest.history(device, now_ms - span_ms, now_ms + AHEAD_MS, max_points, only);
        if (!shown) return;
        for (const [name, trace] of traces) trace.load(series[name]?.at_ms ?? [], series[name]?.value ?? [], unsure);
        later(LOOK_EVERY_MS);
      } catch {
        if (shown) later(RETRY_AFTER_MS); // the header says that the gateway is away; live samples go on meanwhile
        for (const trace of traces.values()) trace.outdated = true;
      }
    };
    const look = () => {
      if ([...traces.values()].some((trace) => trace.outdated)) void load();
      else later(LOOK_EVERY_MS);
    };
    void load();
    return () => {
      shown = false;
      clearTimeout(timer);
    };
  }, [traces, snapshots]);

  return traces;
}

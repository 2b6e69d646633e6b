// Small pieces that several views share.

import { useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { Chart, type Lost } from "../chart.ts";
import { age, isoTime, reading, readingText, staleAfterMs, when } from "../format.ts";
import { eachFrame } from "../frames.ts";
import type { Device, Latest, Quantity } from "../protocol.ts";
import { gatewayNow_ms, now_ms } from "../store.ts";
import { palette } from "../theme.ts";
import type { Trace } from "../trace.ts";
import { NOT_MEASURED, QUALITY_TITLE, qualityWords } from "../words.ts";

/** Filled for online, hollow for offline: told by shape as much as by colour. The word stands beside it. */
export function Dot({ device }: { device: Device }) {
  const state = device.online ? "online" : device.asleep_until_ms === null ? "offline" : "asleep";
  return <span class={`dot ${state}`} aria-hidden="true" />;
}

/** More letters than fit in large type beside a chart. */
const LONG_TEXT = 8;

/** The newest value. One that is older than its period allows looks old, and says so. */
export function Value({ quantity, latest, period_ms }: { quantity: Quantity; latest: Latest | undefined; period_ms: number }) {
  if (!latest) return <span class="value none">{NOT_MEASURED}</span>;
  const { text, unit } = reading(quantity, latest.value);
  const old = isOld(latest.at_ms, period_ms);
  return (
    <span class={`value ${old ? "old" : ""} ${text.length > LONG_TEXT ? "long" : ""}`}>
      <span class="figure">{text}</span>
      {unit && <span class="unit">{` ${unit}`}</span>}
      {old && <span class="hidden">, old</span>}
    </span>
  );
}

export const isOld = (at_ms: number, period_ms: number): boolean => now_ms.value - at_ms > staleAfterMs(period_ms);

/** How long ago, ticking. */
export function Age({ at_ms, period_ms }: { at_ms: number | null | undefined; period_ms: number }) {
  if (at_ms == null) return <span class="age none">no value yet</span>;
  return (
    <time class={`age ${isOld(at_ms, period_ms) ? "old" : ""}`} dateTime={isoTime(at_ms)} title={when(at_ms, now_ms.peek())}>
      {age(now_ms.value - at_ms)}
    </time>
  );
}

/** What is to be known of a value beside its age. */
export function Tags({ latest }: { latest: Latest | undefined }) {
  if (!latest) return null;
  const words = qualityWords(latest.quality);
  return (
    <>
      {latest.provisional && (
        <span class="tag" title="Sent ahead of older samples that are still on their way; not stored yet">
          provisional
        </span>
      )}
      {words && !latest.provisional && (
        <span class="tag" title={QUALITY_TITLE[latest.quality]}>
          {words}
        </span>
      )}
    </>
  );
}

interface LineProps {
  quantity: Quantity;
  period_ms: number;
  trace: Trace;
  label: string;
  small?: boolean;
  group?: string;
  refusedAt?: () => readonly number[];
  lost?: () => readonly Lost[];
  lostHost?: { current: HTMLElement | null };
  onHover?: (point: { at_ms: number; value: number } | null) => void;
}

const NONE: readonly never[] = [];

/** A live chart of one line. It draws itself from the animation loop: rendering this component again costs nothing. */
export function Line({ quantity, period_ms, trace, label, small = false, group = "", refusedAt, lost, lostHost, onHover }: LineProps) {
  const host = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const chart = new Chart(host.current!, {
      trace,
      quantity,
      period_ms,
      small,
      group,
      refusedAt: refusedAt ?? (() => NONE),
      lost: lost ?? (() => NONE),
      lostHost: lostHost?.current ?? null,
      hover: onHover ?? (() => {}),
    });
    const stop = eachFrame(() => chart.draw(gatewayNow_ms(), palette.peek()));
    return () => {
      stop();
      chart.destroy();
    };
  }, [trace]);
  return <div ref={host} class={small ? "chart small" : "chart"} role="img" aria-label={label} />;
}

export const pointWords = (quantity: Quantity, trace: Trace, { at_ms, value }: { at_ms: number; value: number }): string =>
  [`${when(at_ms, now_ms.peek())}  ${readingText(quantity, value)}`, ...trace.unsureWithin(at_ms, at_ms).map(qualityWords)].join(", ");

/** Arrow keys, Home and End go from one `selector` to the next inside the element, beside Tab. */
export const walk =
  (selector: string) =>
  (event: TargetedKeyboardEvent<HTMLElement>): void => {
    const all = [...event.currentTarget.querySelectorAll<HTMLElement>(selector)];
    const here = all.indexOf(document.activeElement as HTMLElement);
    const to = {
      ArrowDown: here + 1,
      ArrowRight: here + 1,
      ArrowUp: here - 1,
      ArrowLeft: here - 1,
      Home: 0,
      End: all.length - 1,
    }[event.key];
    if (here < 0 || to === undefined) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, to))]?.focus();
  };

const FIRST_ROWS = 8;

/** The first rows, and a button for the rest. */
export function useFew<Row>(rows: readonly Row[], what: string, few = FIRST_ROWS): [shown: readonly Row[], more: ComponentChildren] {
  const [all, setAll] = useState(false);
  if (rows.length <= few) return [rows, null];
  return [
    all ? rows : rows.slice(0, few),
    <button type="button" class="quiet more" aria-expanded={all} onClick={() => setAll(!all)}>
      {all ? "Show fewer" : `Show all ${rows.length} ${what}`}
    </button>,
  ];
}

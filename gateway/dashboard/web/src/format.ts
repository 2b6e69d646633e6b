// Numbers, times and ages as a person reads them. Pure.

import type { Quantity, Scalar } from "./protocol.ts";

const MINUS = "\u2212";
const NARROW = "\u202f"; // groups thousands without breaking the line

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** "1 204.50", with a real minus sign. */
export function number(value: number, decimals = 0): string {
  const [whole = "", fraction] = Math.abs(value).toFixed(decimals).split(".");
  const grouped = whole.length > 4 ? whole.replace(/\B(?=(\d{3})+$)/g, NARROW) : whole;
  const text = fraction === undefined ? grouped : `${grouped}.${fraction}`;
  return value < 0 && Number(value.toFixed(decimals)) !== 0 ? MINUS + text : text;
}

/** "3 samples", "1 sample". */
export const count = (many: number, one: string, more = `${one}s`): string => `${number(many)} ${many === 1 ? one : more}`;

/** Two units at most: "42 s", "3 min 20 s", "2 h 5 min", "12 d 3 h". */
export function duration(span_ms: number): string {
  const s = Math.max(0, Math.floor(span_ms / SECOND_MS));
  const parts: [number, string][] = [
    [Math.floor(s / 86_400), "d"],
    [Math.floor(s / 3_600) % 24, "h"],
    [Math.floor(s / 60) % 60, "min"],
    [s % 60, "s"],
  ];
  const first = parts.findIndex(([many]) => many > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .filter(([many], index) => many > 0 || index === 0)
    .map(([many, unit]) => `${many} ${unit}`)
    .join(" ");
}

/** How long ago, in one unit: "now", "4 s ago", "12 min ago", "3 h ago", "5 d ago". */
export function age(span_ms: number): string {
  if (span_ms < 1.5 * SECOND_MS) return "now";
  if (span_ms < MINUTE_MS) return `${Math.floor(span_ms / SECOND_MS)} s ago`;
  if (span_ms < HOUR_MS) return `${Math.floor(span_ms / MINUTE_MS)} min ago`;
  if (span_ms < 2 * DAY_MS) return `${Math.floor(span_ms / HOUR_MS)} h ago`;
  return `${Math.floor(span_ms / DAY_MS)} d ago`;
}

/** The longest a value of this period may be old before it has to look old. Five seconds are two commits of an SD card. */
export const staleAfterMs = (period_ms: number): number => Math.max(5 * SECOND_MS, 3 * period_ms);

export interface Reading {
  text: string;
  unit: string;
}

/** A value in the words of its quantity: by label, as a size, as a time, or as a number with its decimals. */
export function reading(quantity: Pick<Quantity, "unit" | "decimals" | "labels">, value: number): Reading {
  if (Object.keys(quantity.labels).length) return { text: quantity.labels[String(value)] ?? `code ${value}`, unit: "" };
  if (quantity.unit === "B") return bytes(value);
  if (quantity.unit === "s" && value >= 60) return { text: duration(value * SECOND_MS), unit: "" };
  return { text: number(value, quantity.decimals), unit: quantity.unit };
}

export const readingText = (quantity: Pick<Quantity, "unit" | "decimals" | "labels">, value: number): string => {
  const { text, unit } = reading(quantity, value);
  return unit ? `${text}${NARROW}${unit}` : text;
};

/** In units of 1,024, as boards count their memory. */
export function bytes(value: number): Reading {
  if (value < 1024) return { text: number(value), unit: "B" };
  if (value < 1024 ** 2) return { text: number(value / 1024, 1), unit: "KB" };
  if (value < 1024 ** 3) return { text: number(value / 1024 ** 2, 1), unit: "MB" };
  return { text: number(value / 1024 ** 3, 1), unit: "GB" };
}

const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const shortTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** No `Date` reaches further, and one that does throws when it is shown. A board may claim any time. */
const LAST_MS = 8.64e15;
const within = (at_ms: number): number => Math.min(LAST_MS, Math.max(-LAST_MS, at_ms));

/** "19:02:11" */
export const clockTime = (at_ms: number): string => time.format(within(at_ms));

/** "19:02" */
export const clockMinute = (at_ms: number): string => shortTime.format(within(at_ms));

/** "22 Nov" */
export const date = (at_ms: number): string => day.format(within(at_ms));

/** For machines: "2026-11-22T19:02:11.000Z" */
export const isoTime = (at_ms: number): string => new Date(within(at_ms)).toISOString();

/** "19:02:11", and the day where it is not today's. */
export const when = (at_ms: number, now_ms: number): string =>
  new Date(at_ms).toDateString() === new Date(now_ms).toDateString() ? clockTime(at_ms) : `${date(at_ms)} ${clockTime(at_ms)}`;

/** "uptime_ms 81 234 · ok true"; empty for an empty object. */
export const facts = (data: Record<string, Scalar>): string =>
  Object.entries(data)
    .map(([key, value]) => `${key} ${typeof value === "number" ? number(value, Number.isInteger(value) ? 0 : 2) : String(value)}`)
    .join(" \u00b7 ");

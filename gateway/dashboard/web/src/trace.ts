// The points of one line in a chart: typed arrays outside the page's state, so that 50 samples a second cost next to nothing.
// Pure.
//
// The points lie in one piece, `start` to `end`, in arrays of twice the capacity; when the end is reached, they are moved to the
// front. So views of them need no copy, and appending costs O(1) on average.

import type { Unsure } from "./protocol.ts";

const CAPACITY = 4096;

/** Spans of unsure times that are no further apart are one. */
const JOIN_MS = 60_000;

export class Trace {
  #at = new Float64Array(2 * CAPACITY);
  #value = new Float64Array(2 * CAPACITY);
  #start = 0;
  #end = 0;

  /** Grows with every change: whoever draws compares it with the one drawn. */
  version = 0;

  /** Points are missing or not where they belong (a backlog that is thinned out, a corrected time): load the history again. */
  outdated = false;

  /** Where the times of points are not `synced`, in the order they were heard of. */
  unsure: readonly Unsure[] = [];

  // Live points since the history was last asked for, until it is here. Its answer may have them, or not.
  #arrived: [at_ms: number, value: number, quality: string][] | null = null;

  // The bucket that is being filled: its lowest and highest point are the last one or two points of the line.
  #bucket = -1;

  /**
   * `span_ms`: how far back the chart reaches. `bucket_ms`: of the points that fall into one bucket only the lowest and the
   * highest stay, so that a day of fast samples fits and every dip and peak is still seen.
   */
  constructor(
    readonly span_ms: number,
    readonly bucket_ms: number,
  ) {}

  get length(): number {
    return this.#end - this.#start;
  }

  get at_ms(): Float64Array {
    return this.#at.subarray(this.#start, this.#end);
  }

  get values(): Float64Array {
    return this.#value.subarray(this.#start, this.#end);
  }

  get lastAt_ms(): number {
    return this.length ? this.#at[this.#end - 1]! : -Infinity;
  }

  /** A new live point. One of the same instant replaces the one there is; an older one (of a backlog) goes where it belongs. */
  push(at_ms: number, value: number, quality = "synced"): void {
    this.#arrived?.push([at_ms, value, quality]);
    if (quality !== "synced") this.#note({ from_ms: at_ms, to_ms: at_ms, quality });
    const last = this.#end - 1;
    if (this.length && at_ms <= this.#at[last]!) {
      this.#insert(at_ms, value);
      return;
    }
    const bucket = Math.floor(at_ms / this.bucket_ms);
    if (bucket === this.#bucket && this.#inBucket(last - 1)) {
      this.#thin(at_ms, value);
    } else {
      this.#bucket = bucket;
      this.#append(at_ms, value);
    }
    this.#forget(at_ms - this.span_ms);
    this.version++;
  }

  /** The history is being asked for, and will have every point that came until now. */
  asking(): void {
    this.outdated = false;
    this.#arrived = [];
  }

  /** Put what REST gave in place of the line; live points that came since `asking` stay. */
  load(at_ms: readonly number[], values: readonly (number | null)[], unsure: readonly Unsure[] = []): void {
    const arrived = this.#arrived ?? [];
    this.#arrived = null;
    this.unsure = unsure;
    this.#start = this.#end = 0;
    this.#bucket = -1;
    const first = Math.max(0, at_ms.length - CAPACITY);
    for (let index = first; index < at_ms.length; index++) {
      const value = values[index];
      if (typeof value === "number" && at_ms[index]! > this.lastAt_ms) this.#append(at_ms[index]!, value);
    }
    const loaded = new Set(at_ms);
    for (const [at, value, quality] of arrived) if (!loaded.has(at)) this.push(at, value, quality);
    this.version++;
  }

  /** Lowest and highest value from `from_ms` on; null where there is none. */
  extent(from_ms: number): [low: number, high: number] | null {
    let low = Infinity;
    let high = -Infinity;
    for (let index = this.#end - 1; index >= this.#start && this.#at[index]! >= from_ms; index--) {
      low = Math.min(low, this.#value[index]!);
      high = Math.max(high, this.#value[index]!);
    }
    return low <= high ? [low, high] : null;
  }

  /** How the points from `from_ms` to `to_ms` got their time, where that is not certain: "estimated", "corrected" or both. */
  unsureWithin(from_ms: number, to_ms: number): string[] {
    const found = this.unsure.filter((span) => span.to_ms >= from_ms && span.from_ms <= to_ms);
    return [...new Set(found.map((span) => span.quality))].sort();
  }

  #note(span: Unsure): void {
    const near = this.unsure.find(
      (one) => one.quality === span.quality && span.from_ms <= one.to_ms + JOIN_MS && span.to_ms >= one.from_ms - JOIN_MS,
    );
    if (near && near.from_ms <= span.from_ms && near.to_ms >= span.to_ms) return;
    const joined = near
      ? { ...near, from_ms: Math.min(near.from_ms, span.from_ms), to_ms: Math.max(near.to_ms, span.to_ms) }
      : span;
    const oldest_ms = Math.max(this.lastAt_ms, span.to_ms) - this.span_ms;
    this.unsure = [...this.unsure.filter((one) => one !== near && one.to_ms >= oldest_ms), joined];
  }

  /** A point that is not newer than the last. The history has it, too: asked for again where it is easier to ask. */
  #insert(at_ms: number, value: number): void {
    const last_ms = this.lastAt_ms;
    if (at_ms < last_ms - this.span_ms) {
      this.outdated ||= !this.#arrived; // older than the chart shows, or what is shown is ahead of time
      return;
    }
    let index = this.#end - 1;
    while (index >= this.#start && this.#at[index]! > at_ms) index--;
    if (index >= this.#start && this.#at[index] === at_ms) {
      if (this.#value[index] === value) return;
      this.#value[index] = value;
    } else if (this.#thinned(index, at_ms) || this.length === CAPACITY || this.#end === this.#at.length) {
      this.outdated ||= !this.#arrived; // while the history is on its way, `load` decides
      return;
    } else {
      this.#at.copyWithin(index + 2, index + 1, this.#end);
      this.#value.copyWithin(index + 2, index + 1, this.#end);
      this.#at[index + 1] = at_ms;
      this.#value[index + 1] = value;
      this.#end++;
    }
    this.version++;
  }

  /** Whether the bucket of `at_ms`, which would come behind `index`, has two points already. */
  #thinned(index: number, at_ms: number): boolean {
    const bucket = Math.floor(at_ms / this.bucket_ms);
    let many = 0;
    for (let near = Math.max(this.#start, index - 1); near <= Math.min(this.#end - 1, index + 2); near++) {
      if (Math.floor(this.#at[near]! / this.bucket_ms) === bucket) many++;
    }
    return many >= 2;
  }

  #inBucket(index: number): boolean {
    return index >= this.#start && Math.floor(this.#at[index]! / this.bucket_ms) === this.#bucket;
  }

  /** The bucket has two points already: keep the lowest and highest of the three, in order of time. */
  #thin(at_ms: number, value: number): void {
    const a = this.#end - 2;
    const b = this.#end - 1;
    const rising = this.#value[a]! <= this.#value[b]!;
    const [low, high] = rising ? [this.#value[a]!, this.#value[b]!] : [this.#value[b]!, this.#value[a]!];
    if (value >= low && value <= high) return;
    const newHigh = value > high;
    if (newHigh === rising) {
      // the newest takes the place of the later point, which it outdoes
      this.#at[b] = at_ms;
      this.#value[b] = value;
    } else {
      // it outdoes the earlier point: the later one moves to the front
      this.#at[a] = this.#at[b]!;
      this.#value[a] = this.#value[b]!;
      this.#at[b] = at_ms;
      this.#value[b] = value;
    }
  }

  #append(at_ms: number, value: number): void {
    if (this.length === CAPACITY) this.#start++;
    if (this.#end === this.#at.length) {
      this.#at.copyWithin(0, this.#start, this.#end);
      this.#value.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    this.#at[this.#end] = at_ms;
    this.#value[this.#end] = value;
    this.#end++;
  }

  /** Drop what is older, but keep one point: the line enters the chart from the left. */
  #forget(before_ms: number): void {
    while (this.length > 1 && this.#at[this.#start + 1]! < before_ms) this.#start++;
  }
}

/**
 * Where the line is broken: pairs of points that are further apart than samples of this period can be.
 * A single missed sample is a gap; so is the time a device was away.
 */
export function gaps(at_ms: ArrayLike<number>, from: number, to: number, longest_ms: number): [number, number][] {
  const found: [number, number][] = [];
  for (let index = from + 1; index <= to; index++) {
    if (at_ms[index]! - at_ms[index - 1]! > longest_ms) found.push([index - 1, index]);
  }
  return found;
}

/** The longest distance of neighbours in an unbroken line. Thinned lines keep two points of each bucket, so three is broken. */
export const longestStepMs = (period_ms: number, bucket_ms: number): number => Math.max(1.8 * period_ms, 3 * bucket_ms);

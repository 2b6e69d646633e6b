// The only file that knows uPlot.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clockMinute, clockTime, date, DAY_MS, HOUR_MS, MINUTE_MS, number } from "./format.ts";
import type { Quantity } from "./protocol.ts";
import { gaps, longestStepMs, type Trace } from "./trace.ts";

export interface ChartSettings {
  trace: Trace;
  quantity: Quantity;
  period_ms: number;
  /** Small charts have neither axes nor a cursor. */
  small: boolean;
  /** Times at which a value was refused: marked at the upper edge. */
  refusedAt: () => readonly number[];
  /** Where samples were lost: shaded. */
  lost: () => readonly Lost[];
  /** Laid over the chart; its children, one for each of `lost`, are put over their spans. */
  lostHost?: HTMLElement | null;
  /** The point under the cursor, or null. Charts of one `group` share the cursor. */
  hover: (point: { at_ms: number; value: number } | null) => void;
  group: string;
}

/** A span of time in which samples were lost; null: until now. */
export interface Lost {
  from_ms: number;
  to_ms: number | null;
}

/** Nothing that was lost is too short to be seen. */
const LEAST_PX = 3;

const FONT = '11px -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", sans-serif';
const Y_AXIS_PX = 52;

/** Steps between labels of the time axis that a person finds round. */
const STEPS_MS = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400].map((s) => s * 1000);

export class Chart {
  readonly #plot: uPlot;
  readonly #watch: ResizeObserver;
  #drawnVersion = -1;
  #drawnTo_ms = 0;
  #drawnPalette = -1;
  #drawnLost: readonly Lost[] = [];
  #fits = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly settings: ChartSettings,
  ) {
    this.#plot = new uPlot(this.#options(), [new Float64Array(), new Float64Array()], host);
    this.#watch = new ResizeObserver(() => (this.#fits = false));
    this.#watch.observe(host);
  }

  /** Draw what changed since the last time; cheap when nothing did. `to_ms` is the right edge, `palette` changes with the theme. */
  draw(to_ms: number, palette: number): void {
    if (!this.#fits) this.#fit();
    const { trace } = this.settings;
    const pixel_ms = trace.span_ms / Math.max(1, this.#plot.bbox.width);
    const moved = to_ms - this.#drawnTo_ms;
    const lost = this.settings.lost();
    if (trace.version === this.#drawnVersion && lost === this.#drawnLost && palette === this.#drawnPalette && moved >= 0 && moved < pixel_ms) return;
    this.#drawnVersion = trace.version;
    this.#drawnPalette = palette;
    this.#drawnLost = lost;
    this.#drawnTo_ms = to_ms;
    this.#plot.batch(() => {
      this.#plot.setData([trace.at_ms, trace.values], false);
      this.#plot.setScale("x", { min: to_ms - trace.span_ms, max: to_ms });
    });
  }

  destroy(): void {
    this.#watch.disconnect();
    this.#plot.destroy();
  }

  #fit(): void {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height) return;
    this.#fits = true;
    if (width !== this.#plot.width || height !== this.#plot.height) this.#plot.setSize({ width, height });
    this.#drawnVersion = -1;
  }

  #options(): uPlot.Options {
    const { small, quantity, group } = this.settings;
    const colour = (name: string) => () => getComputedStyle(this.host).getPropertyValue(name);
    const grid = { stroke: colour("--chart-grid"), width: 1 };
    return {
      width: Math.max(1, this.host.clientWidth),
      height: Math.max(1, this.host.clientHeight),
      ms: 1,
      padding: small ? [3, 6, 3, 0] : [10, 20, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: true, auto: false },
        y: { range: (_, low, high) => this.#yRange(low, high) },
      },
      axes: [
        {
          show: !small,
          stroke: colour("--chart-text"),
          grid,
          ticks: { show: false },
          font: FONT,
          size: 24,
          gap: 6,
          space: 84,
          incrs: STEPS_MS,
          values: (_, splits, __, ___, step_ms) => splits.map((at_ms) => timeLabel(at_ms, step_ms)),
        },
        {
          show: !small,
          stroke: colour("--chart-text"),
          grid,
          ticks: { show: false },
          font: FONT,
          size: Y_AXIS_PX,
          gap: 8,
          space: 26,
          values: (_, splits, __, ___, step) => splits.map((value) => number(value, decimalsOf(step, quantity.decimals))),
        },
      ],
      series: [
        {},
        {
          stroke: colour("--accent"),
          fill: colour("--chart-fill"),
          fillTo: (plot) => plot.scales["y"]!.min!, // and not to zero, which may lie above
          width: small ? 1.25 : 1.5,
          points: { show: false },
          gaps: (plot, _, from, to) => this.#breaks(from, to).map(([a, b]) => [this.#x(plot, a), this.#x(plot, b)]),
        },
      ],
      cursor: small
        ? { show: false }
        : {
            y: false,
            drag: { x: false, y: false, setScale: false },
            sync: { key: group, setSeries: false },
            points: { size: 7, width: 2, stroke: colour("--surface"), fill: colour("--accent") },
            dataIdx: (plot, _, index, at_ms) => this.#near(plot, index, at_ms),
          },
      hooks: {
        drawClear: [
          (plot) => {
            this.#shadeGaps(plot);
            this.#shadeLost(plot);
          },
        ],
        draw: [
          (plot) => {
            this.#drawNewest(plot);
            if (!small) this.#drawRefused(plot);
          },
        ],
        setCursor: [(plot) => this.#tellHover(plot)],
      },
    };
  }

  /** Room above and below, and never so close that noise of the last digit fills the chart. */
  #yRange(low: number | null, high: number | null): [number, number] {
    const { low: from, high: to, decimals } = this.settings.quantity;
    if (low == null || high == null) return [from, to];
    const least = Math.max(10 ** -decimals * 10, Math.min(to - from, 1e6) * 0.001);
    const span = Math.max(high - low, least) * 1.24;
    const middle = (low + high) / 2;
    return [middle - span / 2, middle + span / 2];
  }

  #breaks(from: number, to: number): [number, number][] {
    const { trace, period_ms } = this.settings;
    return gaps(trace.at_ms, from, to, longestStepMs(period_ms, trace.bucket_ms));
  }

  #x(plot: uPlot, index: number): number {
    return plot.valToPos(plot.data[0][index]!, "x", true);
  }

  /** No point is under a cursor that stands in a gap. */
  #near(plot: uPlot, index: number, at_ms: number): number | null {
    const { trace, period_ms } = this.settings;
    const found = plot.data[0][index];
    const reach = Math.max(longestStepMs(period_ms, trace.bucket_ms), trace.span_ms / 100);
    return (found === undefined || Math.abs(found - at_ms) > reach ? null : index) as number;
  }

  #shadeGaps(plot: uPlot): void {
    const { left, top, width, height } = plot.bbox;
    const last = plot.data[0].length - 1;
    if (last < 0) return;
    plot.ctx.save();
    plot.ctx.fillStyle = getComputedStyle(this.host).getPropertyValue("--chart-gap");
    for (const [a, b] of this.#breaks(0, last)) {
      const from = Math.max(left, this.#x(plot, a));
      const to = Math.min(left + width, this.#x(plot, b));
      if (to - from >= 1) plot.ctx.fillRect(from, top, to - from, height);
    }
    plot.ctx.restore();
  }

  /** What is known to be lost, more strongly than where points are only missing. */
  #shadeLost(plot: uPlot): void {
    const { left, top, width, height } = plot.bbox;
    const style = getComputedStyle(this.host);
    const children = this.settings.lostHost?.children;
    plot.ctx.save();
    this.#drawnLost.forEach(({ from_ms, to_ms }, index) => {
      const begin = plot.valToPos(from_ms, "x", true);
      const end = Math.max(to_ms === null ? left + width : plot.valToPos(to_ms, "x", true), begin + LEAST_PX * devicePixelRatio);
      const from = Math.max(left, begin);
      const to = Math.min(left + width, end);
      const child = children?.[index] as HTMLElement | undefined;
      if (child) {
        child.hidden = to <= from;
        child.style.left = `${from / devicePixelRatio}px`;
        child.style.width = `${Math.max(0, to - from) / devicePixelRatio}px`;
        child.style.top = `${top / devicePixelRatio}px`;
        child.style.height = `${height / devicePixelRatio}px`;
      }
      if (to <= from) return;
      plot.ctx.fillStyle = style.getPropertyValue("--chart-lost");
      plot.ctx.fillRect(from, top, to - from, height);
      plot.ctx.fillStyle = style.getPropertyValue("--warn");
      plot.ctx.fillRect(from, top + height - 2 * devicePixelRatio, to - from, 2 * devicePixelRatio);
    });
    plot.ctx.restore();
  }

  #drawNewest(plot: uPlot): void {
    const last = plot.data[0].length - 1;
    if (last < 0) return;
    const x = this.#x(plot, last);
    if (x < plot.bbox.left) return;
    plot.ctx.save();
    plot.ctx.fillStyle = getComputedStyle(this.host).getPropertyValue("--accent");
    plot.ctx.beginPath();
    plot.ctx.arc(x, plot.valToPos(plot.data[1]![last]!, "y", true), 2.6 * devicePixelRatio, 0, 2 * Math.PI);
    plot.ctx.fill();
    plot.ctx.restore();
  }

  /** A small triangle at the upper edge, where a value was refused. */
  #drawRefused(plot: uPlot): void {
    const { left, top, width } = plot.bbox;
    const half = 4 * devicePixelRatio;
    plot.ctx.save();
    plot.ctx.fillStyle = getComputedStyle(this.host).getPropertyValue("--warn");
    for (const at_ms of this.settings.refusedAt()) {
      const x = plot.valToPos(at_ms, "x", true);
      if (x < left || x > left + width) continue;
      plot.ctx.beginPath();
      plot.ctx.moveTo(x - half, top);
      plot.ctx.lineTo(x + half, top);
      plot.ctx.lineTo(x, top + 1.6 * half);
      plot.ctx.fill();
    }
    plot.ctx.restore();
  }

  #tellHover(plot: uPlot): void {
    const index = (plot.cursor.idxs?.[1] ?? null) as number | null;
    const outside = plot.cursor.left === undefined || plot.cursor.left < 0;
    const at_ms = index === null || outside ? undefined : plot.data[0][index];
    const value = index === null || outside ? undefined : plot.data[1]![index];
    this.settings.hover(at_ms === undefined || value == null ? null : { at_ms, value });
  }
}

function timeLabel(at_ms: number, step_ms: number): string {
  if (step_ms >= DAY_MS || (step_ms >= HOUR_MS && new Date(at_ms).getHours() === 0)) return date(at_ms);
  return step_ms < MINUTE_MS ? clockTime(at_ms) : clockMinute(at_ms);
}

/** As many decimals as the distance of the labels needs, and no more than the quantity has. */
function decimalsOf(step: number, most: number): number {
  for (let decimals = 0; decimals < most; decimals++) {
    const scaled = step * 10 ** decimals;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6) return decimals;
  }
  return most;
}

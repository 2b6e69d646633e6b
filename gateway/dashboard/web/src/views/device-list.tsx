// All devices: who is there, and what they measured last.

import { MINUTE_MS } from "../format.ts";
import { usePlots } from "../plots.ts";
import type { Quantity } from "../protocol.ts";
import { arrivesEvery, isVitals, periodOf } from "../quantities.ts";
import { deviceHref } from "../route.ts";
import type { DeviceState } from "../state.ts";
import { link, now_ms, state } from "../store.ts";
import { deliveryWords, presenceWords } from "../words.ts";
import { Age, Dot, Line, Value, walk } from "./parts.tsx";

const SPARK_SPAN_MS = 10 * MINUTE_MS;
const SPARK_POINTS = 240;
const VALUES_SHOWN = 4;

export function DeviceList() {
  const { loaded, devices } = state.value;
  const online = [...devices.values()].filter((device) => device.online || device.asleep_until_ms !== null).length;
  return (
    <>
      <div class="page-head">
        <h1 tabIndex={-1}>Devices</h1>
        <p class="muted">{loaded ? (devices.size ? `${online} of ${devices.size} online` : "") : "Waiting for the gateway\u2026"}</p>
      </div>
      {loaded && !devices.size ? (
        <NoDevice />
      ) : (
        <ul class="devices" onKeyDown={walk("a")}>
          {[...devices.values()].map((device) => (
            <Row key={device.id} device={device} />
          ))}
        </ul>
      )}
    </>
  );
}

function Row({ device }: { device: DeviceState }) {
  const measured = device.sensors.filter((sensor) => !isVitals(sensor)).flatMap((sensor) => sensor.quantities);
  const first = measured[0];
  return (
    <li class={`device ${device.online || device.asleep_until_ms !== null ? "" : "is-offline"}`}>
      <Dot device={device} />
      <div class="device-name">
        <a href={deviceHref(device.id)}>{device.id}</a>
        <p class="muted">{presenceWords(device, now_ms.value, link.value.kind === "live")}</p>
      </div>
      <dl class="device-values">
        {measured.slice(0, VALUES_SHOWN).map((quantity) => (
          <div key={quantity.name}>
            <dt>{quantity.title}</dt>
            <dd>
              <Value quantity={quantity} latest={device.latest[quantity.name]} period_ms={arrivesEvery(device, quantity)} />
            </dd>
          </div>
        ))}
      </dl>
      <div class="device-spark">
        {first && <Spark device={device.id} quantity={first} period_ms={periodOf(device, first)} />}
      </div>
      <div class="device-newest">
        <Age at_ms={device.newest_at_ms} period_ms={Math.min(...device.sensors.map((sensor) => sensor.period_ms), 10_000)} />
        <p class="muted">{deliveryWords(device)}</p>
      </div>
    </li>
  );
}

function Spark({ device, quantity, period_ms }: { device: string; quantity: Quantity; period_ms: number }) {
  const trace = usePlots(device, [quantity], SPARK_SPAN_MS, SPARK_POINTS, quantity.name).get(quantity.name)!;
  return <Line small quantity={quantity} period_ms={period_ms} trace={trace} label={`${quantity.title}, the last 10 minutes`} />;
}

function NoDevice() {
  return (
    <section class="empty">
      <h2>No device yet</h2>
      <p>Make one, and give the token it prints to the board. The board appears here as soon as it connects.</p>
      <pre>
        <code>mpy-gateway devices add greenhouse --node climate-node</code>
      </pre>
      <p>No board at hand? An emulated one runs the same firmware:</p>
      <pre>
        <code>mpy-gateway emulate --node climate-node</code>
      </pre>
    </section>
  );
}

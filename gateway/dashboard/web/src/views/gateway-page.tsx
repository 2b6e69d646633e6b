// The gateway itself: what a person should know, its disk, and its ways out.

import { bytes, count, duration, number, when } from "../format.ts";
import type { Broker, DoorPanel, Notice, Panel, StorePanel } from "../protocol.ts";
import * as rest from "../rest.ts";
import { act, mayControl, now_ms, state } from "../store.ts";
import { brokerWords, NOT_MEASURED } from "../words.ts";
import { Fact } from "./delivery.tsx";

export function GatewayPage() {
  const { panel, gateway } = state.value;
  return (
    <>
      <div class="page-head">
        <h1 tabIndex={-1}>Gateway</h1>
        <p class="muted">{panel ? gateway : "Waiting for the gateway\u2026"}</p>
      </div>
      {panel && <Shown panel={panel} />}
    </>
  );
}

function Shown({ panel: { notices, store, brokers, door } }: { panel: Panel }) {
  return (
    <div class="gateway-page">
      <section class="card" aria-labelledby="notices">
        <h2 id="notices">To know</h2>
        {notices.length ? (
          <ul class="notices">
            {notices.map((notice) => (
              <NoticeRow key={notice.id || notice.text} notice={notice} />
            ))}
          </ul>
        ) : (
          <p class="nothing">All is well.</p>
        )}
      </section>
      <Disk store={store} />
      <Door door={door} />
      {brokers.map((broker) => (
        <BrokerCard key={broker.name} broker={broker} />
      ))}
    </div>
  );
}

/** For what has happened: somebody has read it. */
export function Dismiss({ id }: { id: string }) {
  if (!id || !mayControl()) return null;
  const dismiss = () => {
    rest.dismiss(id).then(() => act({ type: "notice.dismissed", id }), () => {}); // else it stays, and can be tried again
  };
  return (
    <button type="button" class="quiet" onClick={dismiss}>
      Dismiss
    </button>
  );
}

function NoticeRow({ notice: { level, text, since_ms, id } }: { notice: Notice }) {
  return (
    <li class={level}>
      <span class="level">{level === "error" ? "Error" : "Warning"}</span> {text}
      {since_ms !== null && (
        <span class="muted"> {id ? `${when(since_ms, now_ms.peek())}.` : `For ${duration(now_ms.value - since_ms)}.`}</span>
      )}
      <Dismiss id={id} />
    </li>
  );
}

const size = (many: number): string => {
  const { text, unit } = bytes(many);
  return `${text} ${unit}`;
};

function Disk({ store }: { store: StorePanel }) {
  const untaken = Object.entries(store.untaken);
  return (
    <section class="card" aria-labelledby="disk">
      <h2 id="disk">Disk</h2>
      <dl class="facts">
        <Fact name="Writing" warn={store.trouble !== ""}>
          {store.trouble || `every ${number(store.commit_ms)} ms`}
        </Fact>
        <Fact name="Last write took">{number(store.last_commit_ms, 1)} ms</Fact>
        <Fact name="Waiting for it">{count(store.queue, "batch", "batches")}</Fact>
        <Fact name="Stored in all">{count(store.samples, "sample")}</Fact>
        <Fact name="Size">{size(store.bytes)}</Fact>
        <Fact name="Free">{store.disk_free_bytes === null ? NOT_MEASURED : size(store.disk_free_bytes)}</Fact>
        <Fact name="Deleted by age or size">{store.pruned_samples ? count(store.pruned_samples, "sample") : "none"}</Fact>
        {untaken.map(([outlet, samples]) => (
          <Fact key={outlet} name={`Deleted before ${outlet} took them`} warn>
            {count(samples, "sample")}
          </Fact>
        ))}
      </dl>
    </section>
  );
}

function Door({ door }: { door: DoorPanel }) {
  return (
    <section class="card" aria-labelledby="door">
      <h2 id="door">Devices' door</h2>
      <dl class="facts">
        <Fact name="New connections" warn={door.trouble !== ""}>
          {door.trouble || "accepted"}
        </Fact>
        <Fact name="Connected">{count(door.connections, "device")}</Fact>
        <Fact name="Not known yet">{count(door.strangers, "connection")}</Fact>
        <Fact name="Refused tokens since the start" warn={door.bad_tokens > 0}>
          {door.bad_tokens ? number(door.bad_tokens) : "none"}
        </Fact>
        <Fact name="TLS that failed" warn={door.failed_tls > 0}>
          {door.failed_tls ? count(door.failed_tls, "connection") : "none"}
        </Fact>
        <Fact name="Turned away in a crowd" warn={door.crowded_out > 0}>
          {door.crowded_out ? count(door.crowded_out, "connection") : "none"}
        </Fact>
      </dl>
    </section>
  );
}

function BrokerCard({ broker }: { broker: Broker }) {
  const id = `broker-${broker.name}`;
  return (
    <section class="card" aria-labelledby={id}>
      <h2 id={id}>Broker {broker.name}</h2>
      <dl class="facts">
        <Fact name="State" warn={broker.state !== "connected" && broker.state !== "stopped"}>
          {brokerWords(broker, now_ms.value)}
        </Fact>
        <Fact name="Behind">{broker.backlog === null ? NOT_MEASURED : broker.backlog ? count(broker.backlog, "sample") : "nothing"}</Fact>
        <Fact name="Published since the start">{count(broker.published, "message")}</Fact>
        <Fact name="Set aside" warn={broker.aside > 0}>
          {broker.aside ? count(broker.aside, "message") : "none"}
        </Fact>
        <Fact name="Address">{broker.url}</Fact>
      </dl>
      {broker.last_aside.length > 0 && (
        <ul class="aside-list">
          {broker.last_aside.map(({ topic, why }, index) => (
            <li key={index}>
              <code>{topic}</code> <span class="warn">{why}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

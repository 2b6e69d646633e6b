// A whole device, written from WIRE.md. Usage: node device.mjs URL DEVICE TOKEN SAMPLES
import { randomBytes } from "node:crypto";
import WebSocket from "ws";

const [url, device, token, samples] = process.argv.slice(2);
const now = () => Math.round(performance.now()); // milliseconds since this boot began
const boot = { boot: 1, id: randomBytes(8).toString("hex"), first: 0, next: 0 };
const held = []; // what is not acknowledged yet, oldest first

const socket = new WebSocket(url, "mpy-gateway.v1", { headers: { Authorization: `Bearer ${token}` } });
const send = (frame) => socket.send(JSON.stringify(frame));

function measure() {
  const sample = { type: "samples", boot: 1, seq: boot.next++, t: [now()], values: { temperature: [21.5] } };
  held.push(sample);
  send(sample);
  if (boot.next < samples) setTimeout(measure, 5);
}

const on = {
  welcome: measure,
  clock: ({ id }) => send({ type: "clock", id, t: now() }),
  command({ id, name }) {
    if (name === "ping") send({ type: "result", id, status: "done", data: { uptime_ms: now() } });
    else send({ type: "result", id, status: "failed", error: { code: "command.unknown", text: `no ${name}` } });
  },
  ack({ seq, result }) {
    while (held.length && held[0].seq <= seq) held.shift();
    if (result === undefined && boot.next >= samples && !held.length) socket.send(Buffer.from("MG\x01\x00\0\0\0\x07bulk"));
  },
  error: ({ code, text }) => console.log(code, text),
};

socket.on("open", () => send({ type: "hello", device, hardware: "a laptop", t: now(), boots: [boot] }));
socket.on("message", (data, isBinary) => {
  if (!isBinary) return on[JSON.parse(data).type]?.(JSON.parse(data));
  console.log("echo", data.subarray(8).toString()); // all is acknowledged, and the path carries binary frames
  if (process.argv[6] !== "stay") socket.close(1000, "done");
});
socket.on("close", (code, reason) => console.log("closed", code, reason.toString()));

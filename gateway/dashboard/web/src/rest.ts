// The gateway's REST resources, as far as the page uses them.

import { parseCommands, parseEvents, parseGaps, parseHistory, parseProblem, parseQuarantine, parseResult, parseSession } from "./parse.ts";
import type { Asked, CommandResult, Device, DeviceEvent, Gap, History, Refused, Scalar, Session } from "./protocol.ts";

const TIMEOUT_MS = 15_000;
/** How long a command may wait until it is begun: for a device that is there, and for one that is away. */
const COMMAND_TIMEOUT_S = 10;
const AWAY_TIMEOUT_S = 600;
const LONGEST_TIMEOUT_S = 3600;

/** The gateway said no, or nothing. The message is for people. */
export class RestError extends Error {}

export async function call(path: string, init: RequestInit = {}, timeout_ms = TIMEOUT_MS): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal: AbortSignal.timeout(timeout_ms) });
  } catch {
    throw new RestError("The gateway did not answer.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (!response.ok) throw new RestError(parseProblem(body)?.text ?? `The gateway answered ${response.status}.`);
  return body;
}

const at = (device: string, resource: string) => `/api/devices/${encodeURIComponent(device)}/${resource}`;

export async function history(
  device: string,
  from_ms: number,
  to_ms: number,
  max_points: number,
  quantity?: string,
): Promise<History> {
  const span = { from_ms: String(Math.floor(from_ms)), to_ms: String(Math.floor(to_ms)) };
  const query = new URLSearchParams({ ...span, max_points: String(max_points) });
  if (quantity) query.set("quantity", quantity);
  return parseHistory(await call(`${at(device, "samples")}?${query}`));
}

export const quarantine = async (device: string): Promise<Refused[]> => parseQuarantine(await call(at(device, "quarantine")));

export const gaps = async (device: string): Promise<Gap[]> => parseGaps(await call(at(device, "gaps")));

export const events = async (device: string): Promise<DeviceEvent[]> => parseEvents(await call(at(device, "events")));

export const commands = async (device: string): Promise<Asked[]> => parseCommands(await call(at(device, "commands")));

/** How long a command waits for the device: one that sleeps is late when it is back a tenth of its sleep and a minute later. */
export function timeout(device: Pick<Device, "online" | "asleep_until_ms">, now_ms: number): number {
  if (device.online) return COMMAND_TIMEOUT_S;
  const asleep_s = device.asleep_until_ms === null ? 0 : (device.asleep_until_ms - now_ms) / 1000;
  return Math.min(LONGEST_TIMEOUT_S, Math.max(AWAY_TIMEOUT_S, Math.round(1.1 * asleep_s + 60)));
}

/** Resolves when the command has ended. */
export async function send(device: string, name: string, args: Record<string, Scalar>, timeout_s: number): Promise<CommandResult> {
  const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name, args, timeout_s }) };
  return parseResult(await call(at(device, "commands"), init, timeout_s * 1000 + TIMEOUT_MS));
}

/** Forget a notice that was read. */
export async function dismiss(id: string): Promise<void> {
  await call(`/api/notices/${encodeURIComponent(id)}`, { method: "DELETE" });
}

/** Who is looking; null: this browser has to log in. Rejects when the gateway cannot be reached. */
export async function session(): Promise<Session | null> {
  const response = await fetch("/api/session", { signal: AbortSignal.timeout(TIMEOUT_MS) });
  return response.status === 401 ? null : parseSession(await response.json());
}

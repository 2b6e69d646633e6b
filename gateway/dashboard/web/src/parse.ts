// Text from the gateway to checked values. Pure. What has passed here is trusted everywhere else.
//
// A `Check<T>` returns its argument as T or throws `Malformed`. Unknown fields pass: more will come.

import type {
  ApiToken,
  Asked,
  Broker,
  CommandArgument,
  CommandResult,
  CommandSpec,
  Counts,
  Device,
  DoorPanel,
  DeviceEvent,
  Gap,
  History,
  Latest,
  Link,
  Notice,
  Quantity,
  Refused,
  Role,
  Scalar,
  Scope,
  Sensor,
  ServerMessage,
  Session,
  StorePanel,
  Unsure,
  User,
} from "./protocol.ts";

export class Malformed extends Error {}

type Check<T> = (value: unknown, where: string) => T;

function fail(where: string, expected: string): never {
  throw new Malformed(`${where}: expected ${expected}`);
}

const text: Check<string> = (value, where) => (typeof value === "string" ? value : fail(where, "text"));
const number: Check<number> = (value, where) => (typeof value === "number" ? value : fail(where, "a number"));
const flag: Check<boolean> = (value, where) => (typeof value === "boolean" ? value : fail(where, "true or false"));

const scalar: Check<Scalar> = (value, where) =>
  value === null || typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? value
    : fail(where, "text, a number, true, false or null");

const orNull =
  <T>(check: Check<T>): Check<T | null> =>
  (value, where) =>
    value === null ? null : check(value, where);

const oneOf =
  <T extends string>(...words: T[]): Check<T> =>
  (value, where) =>
    words.includes(value as T) ? (value as T) : fail(where, words.join(" or "));

const list =
  <T>(check: Check<T>): Check<T[]> =>
  (value, where) => {
    if (!Array.isArray(value)) return fail(where, "a list");
    for (let index = 0; index < value.length; index++) check(value[index], where);
    return value as T[];
  };

function fields(value: unknown, where: string): Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : fail(where, "an object");
}

const table =
  <T>(check: Check<T>): Check<Record<string, T>> =>
  (value, where) => {
    const found = fields(value, where);
    for (const key in found) check(found[key], `${where}.${key}`);
    return found as Record<string, T>;
  };

/** An object with at least these fields. The compiler checks that the checks are those of T. */
const object =
  <T>(checks: { [K in keyof T]-?: Check<T[K]> }): Check<T> =>
  (value, where) => {
    const found = fields(value, where);
    for (const key in checks) checks[key](found[key], `${where}.${key}`);
    return found as T;
  };

const quantity = object<Quantity>({
  name: text,
  title: text,
  unit: text,
  decimals: number,
  low: number,
  high: number,
  labels: table(text),
  sensor: text,
  chip: text,
});

const sensor = object<Sensor>({ name: text, chip: text, period_ms: number, quantities: list(quantity) });

const latest = object<Latest>({ value: number, at_ms: number, quality: text, provisional: flag });

const counts = object<Counts>({ samples: number, events: number, gaps: number, lost: number, quarantined: number, uncertain: number });

const link = object<Link>({
  address: text,
  firmware: text,
  frames: number,
  bytes_in: number,
  samples: number,
  errors: table(number),
  rate: number,
  rtt_ms: orNull(number),
  clock: orNull(text),
});

const argument = object<CommandArgument>({
  name: text,
  title: text,
  type: oneOf("integer", "number", "string", "boolean"),
  low: orNull(number),
  high: orNull(number),
  default: scalar,
});

const command = object<CommandSpec>({ name: text, title: text, args: list(argument) });

const device = object<Device>({
  id: text,
  node: text,
  title: text,
  hardware: orNull(text),
  added_ms: number,
  online: flag,
  since_ms: orNull(number),
  last_seen_ms: orNull(number),
  newest_at_ms: orNull(number),
  sensors: list(sensor),
  latest: table(latest),
  counts,
  connection: orNull(link),
  commands: list(command),
  waits_ms: number,
  asleep_until_ms: orNull(number),
});

const refused = object<Refused>({
  at_ms: number,
  boot_id: text,
  seq: number,
  quantity: orNull(text),
  value: text,
  code: text,
  reason: text,
});

const event = object<DeviceEvent>({
  at_ms: number,
  boot_id: text,
  seq: number,
  code: text,
  sensor: orNull(text),
  data: table(scalar),
});

const gapFields = {
  boot: number,
  boot_id: text,
  from: number,
  to: orNull(number),
  count: orNull(number),
  at_most: orNull(number),
  why: text,
  before_ms: orNull(number),
  after_ms: orNull(number),
  received_ms: number,
};

const problem = object<{ code: string; text: string }>({ code: text, text });

const asked = object<Asked>({
  id: text,
  name: text,
  args: table(scalar),
  asked_by: text,
  asked_ms: number,
  deadline_ms: number,
  state: oneOf("queued", "sent", "done", "failed", "expired", "unknown"),
  ended_ms: orNull(number),
  data: table(scalar),
  error: orNull(problem),
});

const notice = object<Notice>({ level: oneOf("warning", "error"), text, since_ms: orNull(number), id: text });

const store = object<StorePanel>({
  trouble: text,
  samples: number,
  bytes: number,
  queue: number,
  commit_ms: number,
  last_commit_ms: number,
  disk_free_bytes: orNull(number),
  pruned_samples: number,
  untaken: table(number),
});

const broker = object<Broker>({
  name: text,
  url: text,
  state: text,
  why: text,
  since_ms: orNull(number),
  published: number,
  backlog: orNull(number),
  aside: number,
  last_aside: list(object<Broker["last_aside"][number]>({ topic: text, why: text })),
});

const door = object<DoorPanel>({ trouble: text, connections: number, strangers: number, bad_tokens: number, failed_tls: number, crowded_out: number });

type Types = { [M in ServerMessage as M["type"]]: Check<M> };

/** `type` itself is checked by being the key under which the check is found. */
const message = <M extends ServerMessage>(type: M["type"], checks: { [K in keyof Omit<M, "type">]: Check<M[K & keyof M]> }) =>
  object({ type: oneOf(type), ...checks }) as unknown as Check<M>;

type Of<T extends ServerMessage["type"]> = Extract<ServerMessage, { type: T }>;

const samplesFields = message<Of<"samples">>("samples", {
  device: text,
  boot_id: text,
  seq: list(number),
  at_ms: list(number),
  quality: text,
  values: table(list(orNull(number))),
});

const samples: Check<Of<"samples">> = (value, where) => {
  const found = samplesFields(value, where);
  const columns = [found.seq, ...Object.values(found.values)];
  return columns.every((column) => column.length === found.at_ms.length) ? found : fail(where, "columns of one length");
};

const messages: Types = {
  snapshot: message<Of<"snapshot">>("snapshot", { gateway: text, version: text, at_ms: number, devices: list(device) }),
  samples,
  latest: message<Of<"latest">>("latest", { device: text, at_ms: number, values: table(orNull(number)) }),
  quarantine: message<Of<"quarantine">>("quarantine", { device: text, rows: list(refused) }),
  event: message<Of<"event">>("event", { device: text, rows: list(event) }),
  gap: message<Of<"gap">>("gap", { device: text, ...gapFields }),
  corrected: message<Of<"corrected">>("corrected", { device: text, boot_id: text, from: number, to: number, moved_ms: number }),
  presence: message<Of<"presence">>("presence", {
    device: text,
    online: flag,
    since_ms: orNull(number),
    last_seen_ms: orNull(number),
    connection: orNull(link),
    asleep_until_ms: orNull(number),
  }),
  command: message<Of<"command">>("command", { device: text, row: asked }),
  counts: message<Of<"counts">>("counts", { device: text, counts }),
  device: message<Of<"device">>("device", { device: text, info: device }),
  removed: message<Of<"removed">>("removed", { device: text }),
  status: message<Of<"status">>("status", { notices: list(notice), store, brokers: list(broker), door }),
  heartbeat: message<Of<"heartbeat">>("heartbeat", { at_ms: number }),
};

export interface Frame {
  messages: ServerMessage[];
  /** What could not be read, one line each. A type we do not know is none of them. */
  problems: string[];
}

/** One frame of the feed: a JSON list of messages. Never throws: a bad message does not cost its neighbours. */
export function parseFrame(raw: string): Frame {
  const frame: Frame = { messages: [], problems: [] };
  let parts: unknown;
  try {
    parts = JSON.parse(raw);
  } catch {
    return { messages: [], problems: ["frame: expected JSON"] };
  }
  if (!Array.isArray(parts)) return { messages: [], problems: ["frame: expected a list"] };
  for (const part of parts as unknown[]) {
    try {
      const type = text(fields(part, "message")["type"], "message.type");
      if (Object.hasOwn(messages, type)) frame.messages.push(messages[type as ServerMessage["type"]](part, type));
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      frame.problems.push(error.message);
    }
  }
  return frame;
}

const historyFields = object<History>({
  from_ms: number,
  to_ms: number,
  series: table(object<History["series"][string]>({ at_ms: list(number), value: list(orNull(number)) })),
  unsure: list(object<Unsure>({ from_ms: number, to_ms: number, quality: text })),
});

export const parseHistory = (value: unknown): History => historyFields(value, "samples");

const rows = <T>(check: Check<T>, where: string) => {
  const whole = object<{ rows: T[] }>({ rows: list(check) });
  return (value: unknown): T[] => whole(value, where).rows;
};

export const parseQuarantine = rows(refused, "quarantine");
export const parseGaps = rows(object<Gap>(gapFields), "gaps");
export const parseCommands = rows(asked, "commands");
export const parseEvents = rows(event, "events");

const result = object<CommandResult>({
  id: text,
  name: text,
  status: oneOf("done", "failed", "expired", "unknown"),
  data: table(scalar),
  error: orNull(problem),
});

export const parseResult = (value: unknown): CommandResult => result(value, "result");

/** The error body of a REST answer, if it is one of ours. */
export function parseProblem(value: unknown): { code: string; text: string } | null {
  try {
    return object<{ error: { code: string; text: string } }>({ error: problem })(value, "error").error;
  } catch {
    return null;
  }
}

const role = oneOf<Role>("viewer", "admin");
const scope = oneOf<Scope>("read", "control", "admin");

const session = object<Session>({ who: text, account: orNull(text), role, scope, expires_ms: orNull(number) });

export const parseSession = (value: unknown): Session => session(value, "session");

const user = object<User>({ name: text, role, created_ms: number, changed_ms: number, sessions: number });

export const parseUsers = (value: unknown): User[] => list(user)(fields(value, "users")["users"], "users");

const apiToken = object<ApiToken>({
  id: text,
  name: text,
  scope,
  account: orNull(text),
  created_ms: number,
  expires_ms: orNull(number),
  used_ms: orNull(number),
});

export const parseTokens = (value: unknown): ApiToken[] => list(apiToken)(fields(value, "tokens")["tokens"], "tokens");

/** The secret of a token that was just made: it is told this once. */
export const parseSecret = (value: unknown): string => text(fields(value, "new token")["secret"], "secret");

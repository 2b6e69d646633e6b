// The words of gateway/dashboard/FEED.md. Times are Unix milliseconds (UTC) and end in `_ms`.

export interface Quantity {
  name: string;
  title: string;
  unit: string;
  decimals: number;
  low: number;
  high: number;
  /** Words for whole-number values; the keys are the numbers as text. */
  labels: Record<string, string>;
  sensor: string;
  chip: string;
}

export interface Sensor {
  name: string;
  chip: string;
  period_ms: number;
  quantities: Quantity[];
}

export interface Latest {
  value: number;
  at_ms: number;
  quality: string;
  /** Sent ahead of a backlog, not stored yet. */
  provisional: boolean;
}

export interface Counts {
  samples: number;
  events: number;
  gaps: number;
  /** How many samples the gaps stand for, at most. */
  lost: number;
  quarantined: number;
  /** How many of `lost` are only a bound. */
  uncertain: number;
}

export interface Link {
  address: string;
  firmware: string;
  frames: number;
  bytes_in: number;
  samples: number;
  errors: Record<string, number>;
  /** Samples per second over the last 10 s. */
  rate: number;
  rtt_ms: number | null;
  clock: string | null;
}

export interface CommandArgument {
  name: string;
  title: string;
  type: "integer" | "number" | "string" | "boolean";
  low: number | null;
  high: number | null;
  default: Scalar;
}

export interface CommandSpec {
  name: string;
  title: string;
  args: CommandArgument[];
}

export interface Device {
  id: string;
  node: string;
  title: string;
  hardware: string | null;
  added_ms: number;
  online: boolean;
  since_ms: number | null;
  last_seen_ms: number | null;
  newest_at_ms: number | null;
  sensors: Sensor[];
  latest: Record<string, Latest>;
  counts: Counts;
  connection: Link | null;
  commands: CommandSpec[];
  /** How long its samples may wait on the board, as its profile has it. */
  waits_ms: number;
  /** It is away as it announced, and expected again then. */
  asleep_until_ms: number | null;
}

/** A value, or a whole frame (`quantity` null), that validation refused. `value` is its JSON text. */
export interface Refused {
  at_ms: number;
  boot_id: string;
  seq: number;
  quantity: string | null;
  value: string;
  code: string;
  reason: string;
}

export interface DeviceEvent {
  at_ms: number;
  boot_id: string;
  seq: number;
  code: string;
  sensor: string | null;
  data: Record<string, Scalar>;
}

export interface Gap {
  boot: number;
  boot_id: string;
  from: number;
  to: number | null;
  count: number | null;
  at_most: number | null;
  why: string;
  /** The times known next to the loss. */
  before_ms: number | null;
  after_ms: number | null;
  /** When the gateway learned of it. */
  received_ms: number;
}

/** A command from asking to end. */
export interface Asked {
  id: string;
  name: string;
  args: Record<string, Scalar>;
  /** `page`, `cli`, `api` or `mqtt.<name>`. */
  asked_by: string;
  asked_ms: number;
  /** Until then it may be begun. */
  deadline_ms: number;
  state: "queued" | "sent" | "done" | "failed" | "expired" | "unknown";
  ended_ms: number | null;
  data: Record<string, Scalar>;
  error: { code: string; text: string } | null;
}

/** What a person should know about the gateway now. */
export interface Notice {
  level: "warning" | "error";
  text: string;
  since_ms: number | null;
  /** Of what has happened, and can be dismissed; empty: it goes when it is over. */
  id: string;
}

export interface StorePanel {
  /** Why nothing can be committed now; empty: all is well. */
  trouble: string;
  samples: number;
  bytes: number;
  queue: number;
  commit_ms: number;
  last_commit_ms: number;
  disk_free_bytes: number | null;
  pruned_samples: number;
  /** Per outlet: pruned before it took them. */
  untaken: Record<string, number>;
}

export interface Broker {
  name: string;
  url: string;
  state: string;
  why: string;
  since_ms: number | null;
  published: number;
  /** Samples committed that it has not taken. */
  backlog: number | null;
  aside: number;
  last_aside: { topic: string; why: string }[];
}

/** The devices' door; counts of who was refused are since the start. */
export interface DoorPanel {
  /** Why nobody can connect now; empty: all is well. */
  trouble: string;
  connections: number;
  /** Connections whose token was not checked yet. */
  strangers: number;
  bad_tokens: number;
  failed_tls: number;
  crowded_out: number;
}

/** The gateway itself. */
export interface Panel {
  notices: Notice[];
  store: StorePanel;
  brokers: Broker[];
  door: DoorPanel;
}

export type Scalar = string | number | boolean | null;

export type ServerMessage =
  | { type: "snapshot"; gateway: string; version: string; at_ms: number; devices: Device[] }
  | {
      type: "samples";
      device: string;
      boot_id: string;
      seq: number[];
      at_ms: number[];
      quality: string;
      values: Record<string, (number | null)[]>;
    }
  | { type: "latest"; device: string; at_ms: number; values: Record<string, number | null> }
  | { type: "quarantine"; device: string; rows: Refused[] }
  | { type: "event"; device: string; rows: DeviceEvent[] }
  | ({ type: "gap"; device: string } & Gap)
  | { type: "corrected"; device: string; boot_id: string; from: number; to: number; moved_ms: number }
  | {
      type: "presence";
      device: string;
      online: boolean;
      since_ms: number | null;
      last_seen_ms: number | null;
      connection: Link | null;
      asleep_until_ms: number | null;
    }
  | { type: "command"; device: string; row: Asked }
  | { type: "counts"; device: string; counts: Counts }
  | { type: "device"; device: string; info: Device }
  | { type: "removed"; device: string }
  | ({ type: "status" } & Panel)
  | { type: "heartbeat"; at_ms: number };

export type Samples = Extract<ServerMessage, { type: "samples" }>;

/** REST: the newest `max_points` of each quantity, thinned so that dips and peaks stay. */
export interface History {
  from_ms: number;
  to_ms: number;
  series: Record<string, { at_ms: number[]; value: (number | null)[] }>;
  unsure: Unsure[];
}

/** In this span of time samples have times of this quality, which is not `synced`. */
export interface Unsure {
  from_ms: number;
  to_ms: number;
  quality: string;
}

export interface CommandResult {
  id: string;
  name: string;
  status: "done" | "failed" | "expired" | "unknown";
  data: Record<string, Scalar>;
  error: { code: string; text: string } | null;
}

export type Scope = "read" | "control" | "admin";
export type Role = "viewer" | "admin";

/** Who is looking. `account` is null for the owner, who came by a link. */
export interface Session {
  who: string;
  account: string | null;
  role: Role;
  scope: Scope;
  expires_ms: number | null;
}

export interface User {
  name: string;
  role: Role;
  created_ms: number;
  /** When the password was set. */
  changed_ms: number;
  sessions: number;
}

/** An API token without its secret. `account` is null where the owner made it. */
export interface ApiToken {
  id: string;
  name: string;
  scope: Scope;
  account: string | null;
  created_ms: number;
  expires_ms: number | null;
  used_ms: number | null;
}

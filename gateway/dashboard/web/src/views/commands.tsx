// A button per command, and beside it what became of it.

import type { TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import { duration, facts, when } from "../format.ts";
import type { Asked, CommandArgument, CommandSpec, Scalar } from "../protocol.ts";
import * as rest from "../rest.ts";
import type { DeviceState } from "../state.ts";
import { gatewayNow_ms, mayControl, now_ms, session } from "../store.ts";
import { unreachable } from "../unreachable.ts";
import { askedByWords, askedWords, resultWords } from "../words.ts";
import { useFew } from "./parts.tsx";

/** They take the board away for a while: asked twice. */
const TO_CONFIRM = new Set(["restart"]);

type Outcome =
  | { kind: "idle" }
  | { kind: "confirm" }
  | { kind: "busy"; online: boolean; timeout_s: number }
  | { kind: "done"; text: string }
  | { kind: "failed"; text: string };

export function Commands({ device }: { device: DeviceState }) {
  return (
    <section class="card" aria-labelledby="commands">
      <h2 id="commands">Commands</h2>
      {mayControl() ? (
        device.commands.map((spec) => <CommandRow key={spec.name} device={device} spec={spec} />)
      ) : (
        session.value && <p class="nothing">You may look, but send no commands.</p>
      )}
      {!device.commands.length && <p class="nothing">This device has none.</p>}
      {device.asked.length > 0 && <History rows={device.asked} specs={device.commands} />}
    </section>
  );
}

/** What was asked of the device before, by whomever. */
function History({ rows, specs }: { rows: readonly Asked[]; specs: readonly CommandSpec[] }) {
  const [shown, more] = useFew(rows, "commands", 4);
  return (
    <>
      <h3 class="asked-head">Asked before</h3>
      <ol class="asked">
        {shown.map((row) => (
          <li key={row.id}>
            <p>
              <span class="what">{specs.find((spec) => spec.name === row.name)?.title ?? row.name}</span> {facts(row.args)}{" "}
              <span class={row.state === "failed" || row.state === "expired" || row.state === "unknown" ? "warn" : ""}>
                {askedWords(row, now_ms.peek())}
              </span>
            </p>
            <p class="muted">
              {when(row.asked_ms, now_ms.peek())}, by {askedByWords(row.asked_by)}
            </p>
          </li>
        ))}
      </ol>
      {more}
    </>
  );
}

function CommandRow({ device, spec }: { device: DeviceState; spec: CommandSpec }) {
  const { online } = device;
  const [outcome, setOutcome] = useState<Outcome>({ kind: "idle" });
  const busy = outcome.kind === "busy";

  const send = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    if (TO_CONFIRM.has(spec.name) && outcome.kind !== "confirm") {
      setOutcome({ kind: "confirm" });
      return;
    }
    const args = argumentsOf(event.currentTarget, spec.args);
    const timeout_s = rest.timeout(device, gatewayNow_ms());
    setOutcome({ kind: "busy", online, timeout_s });
    const begun_ms = performance.now();
    try {
      const result = await rest.send(device.id, spec.name, args, timeout_s);
      const text = resultWords(result, Math.round(performance.now() - begun_ms));
      setOutcome({ kind: result.status === "done" ? "done" : "failed", text });
    } catch (error) {
      setOutcome({ kind: "failed", text: error instanceof Error ? error.message : String(error) });
    }
  };

  return (
    <form class="command" onSubmit={send}>
      {/* Not `disabled`: that would take the focus away, and hide the button from the keyboard. */}
      <button type="submit" aria-disabled={busy} aria-busy={busy}>
        {outcome.kind === "confirm" ? `${spec.title} now` : spec.title}
      </button>
      {spec.args.map((argument) => (
        <Argument key={argument.name} argument={argument} />
      ))}
      <p class={`outcome ${outcome.kind}`} role="status">
        {outcomeWords(outcome, device)}
      </p>
      {outcome.kind === "confirm" && (
        <button type="button" class="quiet cancel" onClick={() => setOutcome({ kind: "idle" })}>
          Cancel
        </button>
      )}
    </form>
  );
}

function outcomeWords(outcome: Outcome, device: DeviceState): string {
  switch (outcome.kind) {
    case "idle":
      if (device.online) return "";
      return `The device is ${device.asleep_until_ms === null ? "offline" : "asleep"}: it gets the command when it comes back.`;
    case "confirm":
      return "Sure? The device is away for some seconds; its samples stay.";
    case "busy":
      return outcome.online
        ? "Waiting for the device\u2026"
        : `Queued: the device gets it if it comes back within ${duration(outcome.timeout_s * 1000)}.`;
    case "done":
    case "failed":
      return outcome.text;
    default:
      return unreachable(outcome);
  }
}

function Argument({ argument }: { argument: CommandArgument }) {
  const { name, title, low, high } = argument;
  // `defaultValue`: with `value`, every render would undo what was typed.
  const common = { name, defaultValue: String(argument.default ?? "") };
  switch (argument.type) {
    case "integer":
    case "number": {
      const limits = { ...(low !== null && { min: low }), ...(high !== null && { max: high }) };
      return (
        <label class="argument">
          <input type="number" required step={argument.type === "integer" ? 1 : "any"} {...limits} {...common} />
          <span class="muted">{title.toLowerCase()}</span>
        </label>
      );
    }
    case "string":
      return (
        <label class="argument">
          <input type="text" maxLength={200} {...common} />
          <span class="muted">{title.toLowerCase()}</span>
        </label>
      );
    case "boolean":
      return (
        <label class="argument">
          <input type="checkbox" name={name} defaultChecked={argument.default === true} />
          <span class="muted">{title.toLowerCase()}</span>
        </label>
      );
    default:
      return unreachable(argument.type);
  }
}

function argumentsOf(form: HTMLFormElement, specs: readonly CommandArgument[]): Record<string, Scalar> {
  return Object.fromEntries(
    specs.map(({ name, type }) => {
      const input = form.elements.namedItem(name) as HTMLInputElement;
      switch (type) {
        case "integer":
        case "number":
          return [name, input.valueAsNumber];
        case "string":
          return [name, input.value];
        case "boolean":
          return [name, input.checked];
        default:
          return unreachable(type);
      }
    }),
  );
}

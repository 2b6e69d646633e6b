// A button per command, and beside it what became of it.

import type { TargetedSubmitEvent } from "preact";
import { useState } from "preact/hooks";
import type { CommandArgument, CommandSpec, Scalar } from "../protocol.ts";
import * as rest from "../rest.ts";
import type { DeviceState } from "../state.ts";
import { unreachable } from "../unreachable.ts";
import { resultWords } from "../words.ts";

type Outcome =
  | { kind: "idle" }
  | { kind: "busy" }
  | { kind: "done"; text: string }
  | { kind: "failed"; text: string };

export function Commands({ device }: { device: DeviceState }) {
  return (
    <section class="card" aria-labelledby="commands">
      <h2 id="commands">Commands</h2>
      {device.commands.map((spec) => (
        <CommandRow key={spec.name} device={device.id} online={device.online} spec={spec} />
      ))}
      {!device.commands.length && <p class="nothing">This device has none.</p>}
    </section>
  );
}

function CommandRow({ device, online, spec }: { device: string; online: boolean; spec: CommandSpec }) {
  const [outcome, setOutcome] = useState<Outcome>({ kind: "idle" });
  const busy = outcome.kind === "busy";

  const send = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy || !online) return;
    const args = argumentsOf(event.currentTarget, spec.args);
    setOutcome({ kind: "busy" });
    const begun_ms = performance.now();
    try {
      const result = await rest.send(device, spec.name, args);
      const text = resultWords(result, Math.round(performance.now() - begun_ms));
      setOutcome({ kind: result.status === "done" ? "done" : "failed", text });
    } catch (error) {
      setOutcome({ kind: "failed", text: error instanceof Error ? error.message : String(error) });
    }
  };

  return (
    <form class="command" onSubmit={send}>
      {/* Not `disabled`: that would take the focus away, and hide the button from the keyboard. */}
      <button type="submit" aria-disabled={busy || !online} aria-busy={busy}>
        {spec.title}
      </button>
      {spec.args.map((argument) => (
        <Argument key={argument.name} argument={argument} />
      ))}
      <p class={`outcome ${outcome.kind}`} role="status">
        {outcomeWords(outcome, online)}
      </p>
    </form>
  );
}

function outcomeWords(outcome: Outcome, online: boolean): string {
  switch (outcome.kind) {
    case "idle":
      return online ? "" : "The device is offline.";
    case "busy":
      return "Waiting for the device\u2026";
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

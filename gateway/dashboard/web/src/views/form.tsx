// Forms that send something and say what became of it.

import type { ComponentChildren, TargetedSubmitEvent } from "preact";
import { useEffect, useState } from "preact/hooks";
import { RestError } from "../rest.ts";

/** What was typed. */
export class Fields {
  constructor(private readonly data: FormData) {}

  text(name: string): string {
    const value = this.data.get(name);
    return typeof value === "string" ? value : "";
  }

  /** Of two fields that must be the same. */
  twice(name: string, again: string): string {
    if (this.text(name) !== this.text(again)) throw new RestError("The two new passwords are not the same.");
    return this.text(name);
  }
}

type Outcome = { kind: "idle" | "busy" | "done" | "failed"; text: string };
const IDLE: Outcome = { kind: "idle", text: "" };

interface FormProps {
  button: string;
  /** What to say when it is done. */
  done?: string;
  onSend: (fields: Fields) => Promise<unknown>;
  children: ComponentChildren;
}

export function Form({ button, done = "", onSend, children }: FormProps) {
  const [outcome, setOutcome] = useState(IDLE);
  const send = async (event: TargetedSubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (outcome.kind === "busy") return;
    const form = event.currentTarget;
    setOutcome({ kind: "busy", text: "" });
    try {
      await onSend(new Fields(new FormData(form)));
      form.reset();
      setOutcome({ kind: "done", text: done });
    } catch (error) {
      setOutcome({ kind: "failed", text: error instanceof Error ? error.message : String(error) });
    }
  };
  return (
    <form class="form" onSubmit={send}>
      {children}
      {/* Not `disabled`: that would take the focus away, and hide the button from the keyboard. */}
      <button type="submit" aria-disabled={outcome.kind === "busy"} aria-busy={outcome.kind === "busy"}>
        {button}
      </button>
      <p class={`outcome ${outcome.kind}`} role="status">
        {outcome.text}
      </p>
    </form>
  );
}

export function TextField({ label, ...input }: { label: string; name: string; maxLength: number; required?: boolean }) {
  return (
    <label>
      {label}
      <input type="text" autocomplete="off" autocapitalize="none" spellcheck={false} {...input} />
    </label>
  );
}

export function PasswordField({ label, name, fresh = false }: { label: string; name: string; fresh?: boolean }) {
  return (
    <label>
      {label}
      <input
        type="password"
        name={name}
        required
        minLength={fresh ? 8 : 1}
        maxLength={1024}
        autocomplete={fresh ? "new-password" : "current-password"}
      />
    </label>
  );
}

const ASK_FOR_MS = 5_000;

/** A button that is asked twice. `of`: whom or what it is about, for those who do not see the row it is in. */
export function Sure({ word, of, onSure }: { word: string; of: string; onSure: () => Promise<unknown> }) {
  const [asking, setAsking] = useState(false);
  const [problem, setProblem] = useState("");
  useEffect(() => {
    if (!asking) return;
    const timer = setTimeout(() => setAsking(false), ASK_FOR_MS);
    return () => clearTimeout(timer);
  }, [asking]);
  const click = () => {
    setAsking(!asking);
    setProblem("");
    if (asking) onSure().catch((error: unknown) => setProblem(error instanceof Error ? error.message : String(error)));
  };
  return (
    <>
      <button type="button" class="quiet" onClick={click}>
        {asking ? "Sure?" : word}
        <span class="hidden">
          {asking && ` ${word}`} {of}
        </span>
      </button>
      {problem && (
        <span class="warn" role="alert">
          {problem}
        </span>
      )}
    </>
  );
}

// Who is looking: logging out, the own password, API tokens; for admins also everybody else (users.tsx).

import { useEffect, useState } from "preact/hooks";
import { age, duration, when } from "../format.ts";
import * as people from "../people.ts";
import type { ApiToken, Scope, Session } from "../protocol.ts";
import { leave, now_ms, session } from "../store.ts";
import { Fact } from "./delivery.tsx";
import { Form, PasswordField, Sure, TextField } from "./form.tsx";
import { Users } from "./users.tsx";

const DAY_MS = 86_400_000;

export function AccountPage() {
  const who = session.value;
  return (
    <>
      <div class="page-head">
        <h1 tabIndex={-1}>Account</h1>
        <p class="muted">{who ? (who.account ?? "") : "Waiting for the gateway\u2026"}</p>
      </div>
      {who && (
        <div class="account-page">
          <You who={who} />
          {who.account && <Password account={who.account} />}
          <Tokens who={who} />
          {who.role === "admin" && <Users own={who.account} />}
        </div>
      )}
    </>
  );
}

function You({ who: { account, role, expires_ms } }: { who: Session }) {
  const out = (work: () => Promise<unknown>) => () => {
    work().then(leave, leave);
  };
  return (
    <section class="card" aria-labelledby="you">
      <h2 id="you">You</h2>
      <dl class="facts">
        <Fact name="Name">{account ?? "the owner, by a one-time link"}</Fact>
        <Fact name="Role">{role === "admin" ? "admin: everything" : "viewer: looks, changes nothing"}</Fact>
        {expires_ms !== null && <Fact name="Logged in for another">{duration(expires_ms - now_ms.value)}</Fact>}
      </dl>
      <div class="buttons">
        <button type="button" onClick={out(people.logOut)}>
          Log out
        </button>
        <button type="button" onClick={out(people.logOutEverywhere)}>
          Log out everywhere
        </button>
      </div>
      <p class="muted">Everywhere: every browser {account ? "of this account" : "that came by a link"}, at once. API tokens stay.</p>
    </section>
  );
}

function Password({ account }: { account: string }) {
  return (
    <section class="card" aria-labelledby="password">
      <h2 id="password">Password</h2>
      <p class="muted">All other browsers of this account are logged out by a change.</p>
      <Form
        button="Change password"
        done="Changed."
        onSend={(fields) => people.changePassword(fields.text("old"), fields.twice("new", "again"))}
      >
        {/* Tells a password manager whose password this is. */}
        <input type="text" name="username" autocomplete="username" value={account} readOnly hidden />
        <PasswordField name="old" label="Old password" />
        <PasswordField name="new" label="New password" fresh />
        <PasswordField name="again" label="New password again" fresh />
      </Form>
    </section>
  );
}

const SCOPES: Record<Scope, string> = {
  read: "read: look",
  control: "control: send commands, too",
  admin: "admin: everything",
};

function Tokens({ who }: { who: Session }) {
  const [rows, setRows] = useState<ApiToken[] | null>(null);
  const [secret, setSecret] = useState("");
  const load = () => people.tokens().then(setRows, () => setRows([]));
  useEffect(() => void load(), [who.account, who.role]);
  const scopes = (Object.keys(SCOPES) as Scope[]).slice(0, who.role === "admin" ? 3 : 1);
  return (
    <section class="card wide" aria-labelledby="tokens">
      <h2 id="tokens">API tokens</h2>
      <p class="muted">For scripts, and for dashboards served from elsewhere: they say one with every request.</p>
      {rows && (
        <ul class="rows">
          {rows.map((token) => (
            <TokenRow key={token.id} token={token} own={who.account} onChange={load} />
          ))}
        </ul>
      )}
      <Form
        button="Make a token"
        onSend={async (fields) => {
          setSecret(await people.addToken(fields.text("name"), fields.text("scope") as Scope, Number(fields.text("days")) || null));
          await load();
        }}
      >
        <TextField name="name" label="What it is for" maxLength={64} />
        <label>
          Scope
          <select name="scope">
            {scopes.map((scope) => (
              <option key={scope} value={scope}>
                {SCOPES[scope]}
              </option>
            ))}
          </select>
        </label>
        <label>
          Valid for
          <select name="days">
            <option value="">ever</option>
            <option value="30">30 days</option>
            <option value="365">a year</option>
          </select>
        </label>
      </Form>
      <div role="status">
        {secret && (
          <div class="secret">
            Copy it now, it is shown this once: <code>{secret}</code>
            <button type="button" class="quiet" onClick={() => setSecret("")}>
              I have it
            </button>
          </div>
        )}
      </div>
    </section>
  );
}

function TokenRow({ token, own, onChange }: { token: ApiToken; own: string | null; onChange: () => void }) {
  const now = now_ms.value;
  const { expires_ms, used_ms } = token;
  return (
    <li>
      <p>
        <span class="what">{token.name || token.id}</span> {token.scope}
        {token.account !== own && <span class="muted"> of {token.account ?? "the owner"}</span>}
        <span class="muted">
          {" \u00b7 "}
          {used_ms === null ? "never used" : `used ${age(now - used_ms)}`}
          {expires_ms !== null && (expires_ms <= now ? ", has expired" : expires_ms - now < 2 * DAY_MS ? `, until ${when(expires_ms, now)}` : `, for another ${duration(expires_ms - now)}`)}
        </span>
      </p>
      <div class="buttons">
        <Sure word="Revoke" of={token.name || token.id} onSure={() => people.revokeToken(token.id).then(onChange)} />
      </div>
    </li>
  );
}

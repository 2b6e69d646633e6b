// Everybody who has a name and a password here, for admins.

import { useEffect, useState } from "preact/hooks";
import { count, duration } from "../format.ts";
import * as people from "../people.ts";
import type { Role, User } from "../protocol.ts";
import { now_ms } from "../store.ts";
import { Form, PasswordField, Sure, TextField } from "./form.tsx";

export function Users({ own }: { own: string | null }) {
  const [rows, setRows] = useState<User[] | null>(null);
  const load = () => people.users().then(setRows, () => {}); // else what is shown stays, and can be tried again
  useEffect(() => void load(), [own]);
  return (
    <section class="card wide" aria-labelledby="people">
      <h2 id="people">People</h2>
      {rows && !rows.length && <p class="nothing">Nobody has a password yet. Make an account for yourself: an admin.</p>}
      {rows && (
        <ul class="rows">
          {rows.map((user) => (
            <UserRow key={user.name} user={user} own={user.name === own} onChange={load} />
          ))}
        </ul>
      )}
      <Form
        button="Add an account"
        done="Added."
        onSend={async (fields) => {
          await people.addUser(fields.text("name"), fields.text("password"), fields.text("role") as Role);
          await load();
        }}
      >
        <TextField name="name" label="Name" maxLength={32} required />
        <PasswordField name="password" label="Password" fresh />
        <label>
          Role
          <select name="role">
            <option value="viewer" selected={Boolean(rows?.length)}>
              viewer: looks
            </option>
            <option value="admin" selected={!rows?.length}>
              admin: everything
            </option>
          </select>
        </label>
      </Form>
    </section>
  );
}

function UserRow({ user, own, onChange }: { user: User; own: boolean; onChange: () => void }) {
  const [setting, setSetting] = useState(false);
  const other: Role = user.role === "admin" ? "viewer" : "admin";
  const { name } = user;
  const then = (work: Promise<unknown>) => work.then(onChange);
  return (
    <li>
      <p>
        <span class="what">{name}</span> {user.role}
        {own && " (you)"}
        <span class="muted">
          {" \u00b7 "}
          {user.sessions ? `logged in with ${count(user.sessions, "browser")}` : "not logged in"}, password {duration(now_ms.value - user.changed_ms)} old
        </span>
      </p>
      {!own && (
        <div class="buttons">
          <Sure word={`Make ${other}`} of={name} onSure={() => then(people.setRole(name, other))} />
          <button type="button" class="quiet" aria-expanded={setting} onClick={() => setSetting(!setting)}>
            Set password<span class="hidden"> {name}</span>
          </button>
          <Sure word="Log out" of={name} onSure={() => then(people.logOutUser(name))} />
          <Sure word="Remove" of={name} onSure={() => then(people.removeUser(name))} />
        </div>
      )}
      {setting && (
        <Form
          button="Set"
          done="Set; its browsers are logged out."
          onSend={async (fields) => {
            await people.setPassword(name, fields.text("password"));
            onChange();
          }}
        >
          <PasswordField name="password" label={`New password of ${name}`} fresh />
        </Form>
      )}
    </li>
  );
}

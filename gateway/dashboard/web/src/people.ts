// REST of accounts and API tokens, as far as the page uses it.

import { parseSecret, parseTokens, parseUsers } from "./parse.ts";
import type { ApiToken, Role, Scope, User } from "./protocol.ts";
import { call } from "./rest.ts";

const send = (method: string, path: string, body?: unknown): Promise<unknown> =>
  call(path, body === undefined ? { method } : { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

const of = (name: string, resource = ""): string => `/api/users/${encodeURIComponent(name)}${resource}`;

export const logOut = () => send("POST", "/api/logout");
export const logOutEverywhere = () => send("POST", "/api/logout/everywhere");
export const changePassword = (old: string, fresh: string) => send("POST", "/api/password", { old, new: fresh });

export const users = async (): Promise<User[]> => parseUsers(await call("/api/users"));
export const addUser = (name: string, password: string, role: Role) => send("POST", "/api/users", { name, password, role });
export const setPassword = (name: string, password: string) => send("PUT", of(name, "/password"), { password });
export const setRole = (name: string, role: Role) => send("PUT", of(name, "/role"), { role });
export const logOutUser = (name: string) => send("POST", of(name, "/logout"));
export const removeUser = (name: string) => send("DELETE", of(name));

export const tokens = async (): Promise<ApiToken[]> => parseTokens(await call("/api/tokens"));
/** Resolves with the secret. `days` null: for ever. */
export const addToken = async (name: string, scope: Scope, days: number | null): Promise<string> =>
  parseSecret(await send("POST", "/api/tokens", { name, scope, days }));
export const revokeToken = (id: string) => send("DELETE", `/api/tokens/${encodeURIComponent(id)}`);

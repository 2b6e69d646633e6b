// What the address says to show. It is kept in the fragment, since the gateway serves the page at "/" only. Pure.

export type Route = { page: "devices" } | { page: "gateway" } | { page: "account" } | { page: "device"; id: string };

export function parseRoute(hash: string): Route {
  if (hash === GATEWAY_HREF) return { page: "gateway" };
  if (hash === ACCOUNT_HREF) return { page: "account" };
  const match = /^#\/device\/([a-z0-9][a-z0-9_-]{0,31})$/.exec(hash);
  return match ? { page: "device", id: match[1]! } : { page: "devices" };
}

export const deviceHref = (id: string): string => `#/device/${id}`;
export const DEVICES_HREF = "#/";
export const GATEWAY_HREF = "#/gateway";
export const ACCOUNT_HREF = "#/account";

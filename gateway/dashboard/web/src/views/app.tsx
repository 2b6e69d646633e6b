// The frame of every page: state of the feed, the page itself, and what runs behind it.

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { clockTime, duration, number } from "../format.ts";
import { ACCOUNT_HREF, DEVICES_HREF, GATEWAY_HREF, parseRoute } from "../route.ts";
import { link, now_ms, retry, session, state, unreadable } from "../store.ts";
import { nextTheme, theme } from "../theme.ts";
import { unreachable } from "../unreachable.ts";
import { linkWords } from "../words.ts";
import { AccountPage } from "./account-page.tsx";
import { DeviceList } from "./device-list.tsx";
import { DevicePage } from "./device-page.tsx";
import { Dismiss, GatewayPage } from "./gateway-page.tsx";

const route = signal(parseRoute(location.hash));
addEventListener("hashchange", () => (route.value = parseRoute(location.hash)));

export function App() {
  const { gateway, version } = state.value;
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Top />
      <main id="main" tabIndex={-1} class={link.value.kind === "live" ? "" : "not-live"}>
        <Banner />
        <Page />
      </main>
      <footer>
        {gateway && (
          <p>
            mpy-gateway {version} &middot; {gateway} &middot; times are this browser&rsquo;s ({timeZone})
          </p>
        )}
        {unreadable.value > 0 && (
          <p class="warn">
            {number(unreadable.value)} messages could not be read: gateway and page may be of different versions; reload the page.
          </p>
        )}
      </footer>
    </>
  );
}

const timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The fragment names the page shown, so it cannot also name a place on it. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

/** On every page: what does not work until somebody acts. */
function Banner() {
  const errors = state.value.panel?.notices.filter((notice) => notice.level === "error") ?? [];
  return (
    <div role="alert">
      {errors.map(({ text, id }) => (
        <p key={text} class="banner">
          {text} <Dismiss id={id} />
        </p>
      ))}
    </div>
  );
}

function Page() {
  const here = route.value;
  const key = here.page === "device" ? here.id : here.page === "gateway" ? "Gateway" : here.page === "account" ? "Account" : "";
  const opened = useRef(false);

  useEffect(() => {
    document.title = key ? `${key} \u00b7 mpy-gateway` : "mpy-gateway";
    // A new page begins at its heading, for the eye and for the keyboard; the first one is where the browser puts it.
    if (opened.current) {
      scrollTo(0, 0);
      document.querySelector<HTMLElement>("h1")?.focus();
    }
    opened.current = true;
  }, [here.page, key]);

  switch (here.page) {
    case "devices":
      return <DeviceList />;
    case "gateway":
      return <GatewayPage />;
    case "account":
      return <AccountPage />;
    case "device":
      return <DevicePage key={key} id={here.id} />;
    default:
      return unreachable(here);
  }
}

function Top() {
  const now = link.value;
  const { kind } = now;
  const trouble = kind === "waiting" || kind === "login" || (kind === "connecting" && now.why !== null);
  return (
    <header class={`top ${trouble ? "trouble" : ""}`}>
      <a class="brand" href={DEVICES_HREF}>
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M3 19h6l4-12 6 18 4-10 2 4h4" />
        </svg>
        mpy-gateway
      </a>
      <p class="feed" data-kind={kind}>
        <span class="lamp" aria-hidden="true" />
        <span role="status" aria-live="polite">
          {linkWords(now)}
        </span>
        <span class="feed-detail" aria-hidden={kind !== "login"}>
          <FeedDetail />
        </span>
        {trouble && (
          <button type="button" class="quiet" onClick={retry}>
            Try now
          </button>
        )}
      </p>
      <GatewayLink />
      <AccountLink />
      <button type="button" class="quiet theme" onClick={nextTheme}>
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <circle cx="8" cy="8" r="6.25" />
          <path d="M8 1.75a6.25 6.25 0 0 1 0 12.5z" />
        </svg>
        <span class="theme-word">Theme: {theme.value}</span>
      </button>
    </header>
  );
}

/** Leads to the gateway's own page; says how many things there are to know. */
function GatewayLink() {
  const { length } = state.value.panel?.notices ?? [];
  return (
    <a class="to-gateway" href={GATEWAY_HREF} aria-current={route.value.page === "gateway" ? "page" : undefined}>
      Gateway
      {length > 0 && (
        <span class="badge">
          {length}
          <span class="hidden">{length === 1 ? " notice" : " notices"}</span>
        </span>
      )}
    </a>
  );
}

function AccountLink() {
  return (
    <a class="to-account" href={ACCOUNT_HREF} aria-current={route.value.page === "account" ? "page" : undefined}>
      <svg viewBox="0 0 16 16" aria-hidden="true">
        <circle cx="8" cy="5.25" r="2.75" />
        <path d="M2.75 14c.4-2.9 2.5-4.5 5.25-4.5s4.85 1.6 5.25 4.5" />
      </svg>
      <span class="hidden">Account</span>
      {session.value?.account && <span class="account-name">{session.value.account}</span>}
    </a>
  );
}

function Since({ heard_ms, children }: { heard_ms: number | null; children: ComponentChildren }) {
  return (
    <>
      {heard_ms !== null && `No data since ${clockTime(heard_ms)} (${duration(Date.now() - heard_ms)}). `}
      {children}
    </>
  );
}

/** What ticks beside the state; not read out aloud, or a screen reader would never fall silent. */
function FeedDetail() {
  const now = link.value;
  void now_ms.value; // once a second
  switch (now.kind) {
    case "live":
      return null;
    case "connecting":
      return now.why === null ? <>to the gateway&hellip;</> : <Since heard_ms={now.heard_ms}>Trying again&hellip;</Since>;
    case "login":
      return (
        <>
          <a href="/login">Log in</a> again.
        </>
      );
    case "waiting": {
      const wait_s = Math.max(0, Math.ceil((now.until_ms - Date.now()) / 1000));
      return (
        <Since heard_ms={now.heard_ms}>{wait_s ? `Trying again in ${wait_s} s.` : "Trying again\u2026"}</Since>
      );
    }
    default:
      return unreachable(now);
  }
}

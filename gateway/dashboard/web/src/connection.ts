// Shell around link.ts: one WebSocket, one timer. Decides nothing.

import { type Link, type LinkEvent, type Step, start, step } from "./link.ts";
import { unreachable } from "./unreachable.ts";

const TICK_MS = 250;

export interface Listener {
  frame(text: string): void;
  link(link: Link): void;
}

export class Connection {
  #link!: Link;
  #socket: WebSocket | null = null;

  constructor(
    private readonly url: string,
    /** Whether this browser is logged in; rejects where the gateway cannot be reached. */
    private readonly loggedIn: () => Promise<boolean>,
    private readonly listener: Listener,
  ) {}

  /** Connect, and stay connected until the page is closed. */
  start(): void {
    this.#take(start(Date.now()));
    setInterval(() => this.#on({ type: "tick" }), TICK_MS);
    addEventListener("online", () => this.#on({ type: "nudge" }));
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#on({ type: "nudge" });
    });
  }

  /** Somebody pressed "try now". */
  retry(): void {
    this.#on({ type: "nudge" });
  }

  #on(event: LinkEvent): void {
    this.#take(step(this.#link, event, Date.now(), Math.random));
  }

  #take({ link, effects }: Step): void {
    if (link !== this.#link) {
      this.#link = link;
      this.listener.link(link);
    }
    for (const effect of effects) {
      switch (effect) {
        case "open":
          this.#open();
          break;
        case "close":
          this.#close();
          break;
        case "ask-session":
          this.loggedIn().then(
            (yes) => {
              if (!yes) this.#on({ type: "unauthorized" });
            },
            () => {}, // not reachable: we are waiting to try again already
          );
          break;
        default:
          unreachable(effect);
      }
    }
  }

  #open(): void {
    this.#close();
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    // A socket that was given up may still speak: only the newest is listened to.
    socket.onmessage = (message: MessageEvent<unknown>) => {
      if (socket !== this.#socket || typeof message.data !== "string") return;
      this.listener.frame(message.data); // first: "live" must never be shown over the old numbers
      this.#on({ type: "heard" });
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      this.#on({ type: "closed", code });
    };
  }

  #close(): void {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }
}

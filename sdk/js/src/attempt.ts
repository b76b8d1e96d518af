import type { Environment, Timer } from "./environment.js";
import type { ClientFrame } from "./frame.js";
import { Link } from "./link.js";
import type { Settings } from "./options.js";
import { again, judgeClose, judgeRefusal, type Verdict } from "./verdict.js";

/** Without a hello after this an attempt is given up; the usersig function's time is part of it. */
const helloMs = 15_000;
/** And so long for the answer why a connection could not be made. */
const probeMs = 5_000;
/** For so long we wait for the service's part of the closing handshake. */
const closeMs = 2_000;
/** After so many heartbeats without a tick of our clock this device was asleep, and the service has given us up. */
const asleep = 3;

/** What an attempt tells. */
export interface Listener {
  /** Frames can be sent. */
  opened(): void;
  /** A frame came. */
  text(data: unknown): void;
  /** The usersig function threw. */
  unsigned(error: unknown): void;
}

/** One attempt at a session: a signature, a connection, and, where that is not to be had, the question why. */
export class Attempt {
  readonly #abort = new AbortController();
  #link: Link | undefined;
  #over = false;
  #late: Timer;
  #watch: Timer;
  #drop!: (v: Verdict) => void;
  readonly #dropped = new Promise<Verdict>((resolve) => {
    this.#drop = resolve;
  });

  constructor(
    readonly set: Settings,
    readonly env: Environment,
    readonly listener: Listener,
  ) {}

  /** Goes from the beginning to the end of the session, if one comes of it, and says what follows. */
  async run(): Promise<Verdict> {
    this.#late = this.env.setTimeout(
      () => this.drop(again("network", "the service did not say hello in time")),
      helloMs,
    );
    const verdict = await Promise.race([this.#dropped, this.#connect()]);
    this.#over = true;
    this.env.clearTimeout(this.#late);
    this.env.clearTimeout(this.#watch);
    this.#abort.abort();
    this.#link?.abandon();
    return verdict;
  }

  /** Ends it here and now, wherever it is. */
  drop(why: Verdict): void {
    this.#drop(why);
  }

  /** Ends the session in good order: run resolves in a while. */
  close(): void {
    this.#link?.close();
    this.#late = this.env.setTimeout(() => this.drop(again("network", "the service did not close")), closeMs);
  }

  /** Hands a frame to the connection; false when there is none. */
  send(frame: ClientFrame): boolean {
    return !this.#over && (this.#link?.send(frame) ?? false);
  }

  /** Hello has come. Its pings are out of our sight: all that can be seen is that this device was asleep for long. */
  greeted(heartbeatMs: number): void {
    this.env.clearTimeout(this.#late);
    if (heartbeatMs === 0) return;
    const tick = () => {
      const then = this.env.now();
      this.#watch = this.env.setTimeout(() => {
        if (this.env.now() - then < asleep * heartbeatMs) tick();
        else this.drop({ ...again("network", "the device was asleep"), atOnce: true });
      }, heartbeatMs);
    };
    tick();
  }

  async #connect(): Promise<Verdict> {
    let usersig: string;
    try {
      usersig = await this.set.usersig();
    } catch (error) {
      if (!this.#over) this.listener.unsigned(error);
      return again("usersig", "the usersig function failed");
    }
    const url = this.set.url(usersig);
    if (this.#over) return again("usersig", "the usersig function took too long");
    let opened = false;
    const onOpen = () => {
      opened = true;
      this.listener.opened();
    };
    const onText = (data: unknown) => {
      if (!this.#over) this.listener.text(data);
    };
    try {
      this.#link = new Link(this.set.WebSocket, url, onOpen, onText);
    } catch (error) {
      // Its message may hold the URL, and so the signature.
      return again("network", `the WebSocket could not be made (${error instanceof Error ? error.name : "no Error"})`);
    }
    const close = await this.#link.ended;
    if (opened) return judgeClose(close);
    this.env.clearTimeout(this.#late);
    this.#late = this.env.setTimeout(() => this.#abort.abort(), probeMs);
    return judgeRefusal(this.set.fetch, url, this.#abort.signal);
  }
}

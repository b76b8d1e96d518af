import type { Environment } from "#dist/environment.js";

/** Lets everything happen that waits for promises alone. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** An environment whose time stands still until it is moved, and whose page has the events that a test fires. */
export class FakeEnvironment implements Environment {
  time = 1_700_000_000_000;
  net = true;
  /** What random gives, unless a test has its own. */
  random = () => 0.5;
  #timers: { at: number; f: () => void }[] = [];
  #listeners: { type: string; f: () => void }[] = [];

  now = () => this.time;
  onLine = () => this.net;

  setTimeout(f: () => void, ms: number): unknown {
    const timer = { at: this.time + ms, f };
    this.#timers.push(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#timers = this.#timers.filter((t) => t !== timer);
  }

  listen(type: string, f: () => void): () => void {
    const listener = { type, f };
    this.#listeners.push(listener);
    return () => {
      this.#listeners = this.#listeners.filter((l) => l !== listener);
    };
  }

  /** Fires an event of the page. */
  fire(type: string): void {
    for (const l of this.#listeners.filter((l) => l.type === type)) l.f();
  }

  /** Timers and listeners that are left: none once a session has ended. */
  get left(): number {
    return this.#timers.length + this.#listeners.length;
  }

  /** Moves the time on, timer by timer. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      await settle();
      const next = this.#timers.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.clearTimeout(next);
      this.time = Math.max(this.time, next.at);
      next.f();
    }
    this.time = end;
  }

  /** Lets time pass in which nothing ran: the device slept. */
  sleep(ms: number): void {
    this.time += ms;
  }
}

/** A frame as the tests write and read it. */
export type Frame = Record<string, unknown>;

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  readyState = 0;
  onopen: ((e: unknown) => void) | null = null;
  onmessage: ((e: { data: unknown }) => void) | null = null;
  onerror: ((e: unknown) => void) | null = null;
  onclose: ((e: { code: number; reason: string }) => void) | null = null;
  /** What the client sent, all of it and parsed. */
  readonly sent: Frame[] = [];
  /** The code of the client's close, undefined before. */
  closed: number | undefined;
  /** Called at each frame of the client, for a test that answers. */
  heard: (f: Frame) => void = () => {};
  /** Whether the other end answers a close. */
  polite = true;

  constructor(readonly url: string) {}

  send(data: string): void {
    if (this.readyState !== 1) throw new Error("a frame was sent on a socket that is not open");
    const f = JSON.parse(data);
    this.sent.push(f);
    this.heard(f);
  }

  close(code = 1005): void {
    if (this.readyState >= 2) return;
    this.readyState = 2;
    this.closed = code;
    if (this.polite) setImmediate(() => this.end(code));
  }

  /** The other end accepts the connection. */
  open(): void {
    this.readyState = 1;
    this.onopen?.({});
  }

  /** The other end sends a frame. */
  say(f: unknown): void {
    if (this.readyState === 1) this.onmessage?.({ data: typeof f === "string" ? f : JSON.stringify(f) });
  }

  /** The connection is over. */
  end(code: number, reason = ""): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    if (code === 1006) this.onerror?.({});
    this.onclose?.({ code, reason });
  }

  /** Says hello, as the service does first. */
  hello(pending = 0, heartbeat = 60): void {
    this.open();
    this.say({ t: "hello", session: "s", heartbeat, pending });
  }

  /** All sequences of the frames of a type. */
  seqs(t: string): unknown[] {
    return this.sent.filter((f) => f.t === t).flatMap((f) => f.seq);
  }
}

/** A push as the service sends it. */
export function pushFrame(seq: number, more: Frame = {}): Frame {
  const body = [{ MsgType: "TIMTextElem", MsgContent: { Text: `text ${seq}` } }];
  return {
    t: "push",
    id: `1-${seq}`,
    seq,
    from: "admin",
    at: 1_700_000_000_000 + seq,
    expire: 1_800_000_000,
    body,
    ...more,
  };
}

/** A generator of numbers from 0 to below 1 that a seed decides (mulberry32). */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

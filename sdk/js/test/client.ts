import type { Hello, Options, Revoke, Session, State, WebSocketClass } from "@carillon-push/client";

/** What a scenario says of a client. All of it can be handed to a browser. */
export interface Wish extends Pick<Options, "url" | "sdkappid" | "account" | "usersig"> {
  /** The client's acknowledgements get lost on their way. */
  loseAcks?: boolean;
  /** It remembers in the page's sessionStorage. */
  remembers?: boolean;
  gatherMs?: number;
}

/** A session and all that it told; in Node, and, as this very file, in a page. */
export class Client {
  readonly session: Session;
  readonly texts: string[] = [];
  readonly seqs: number[] = [];
  readonly states: State[] = [];
  readonly hellos: Hello[] = [];
  readonly revoked: Revoke[] = [];
  #changed: (() => void)[] = [];

  constructor(SessionClass: typeof Session, socket: WebSocketClass, wish: Wish) {
    const { loseAcks, remembers, ...options } = wish;
    this.session = new SessionClass({
      ...options,
      ...(remembers ? { storage: globalThis.sessionStorage } : {}),
      WebSocket: loseAcks ? deaf(socket) : socket,
    });
    this.session.on("push", async (push) => {
      await Promise.resolve();
      for (const e of push.body)
        if (e.MsgType === "TIMTextElem") this.texts.push((e.MsgContent as { Text: string }).Text);
      this.seqs.push(push.seq);
      this.#change();
    });
    this.session.on("revoke", (r) => {
      this.revoked.push(r);
      this.#change();
    });
    this.session.on("hello", (h) => {
      this.hellos.push(h);
      this.#change();
    });
    this.session.on("state", (s) => {
      this.states.push(s);
      this.#change();
    });
    this.session.start();
  }

  /** Waits until so many pushes were shown, and gives all texts. */
  async received(n: number): Promise<string[]> {
    await this.#until(() => this.seqs.length >= n);
    return this.texts;
  }

  /** Waits until the session is in the state. */
  async reached(name: State["name"]): Promise<State> {
    await this.#until(() => this.session.state.name === name);
    return this.session.state;
  }

  /** Waits for the nth hello and gives what it announced. */
  async greeted(n: number): Promise<number> {
    await this.#until(() => this.hellos.length >= n);
    return this.hellos[n - 1]?.pending ?? -1;
  }

  /** How many sessions there have been. */
  async sessions(): Promise<number> {
    return this.hellos.length;
  }

  async revocations(n: number): Promise<Revoke[]> {
    await this.#until(() => this.revoked.length >= n);
    return this.revoked;
  }

  async opened(): Promise<void> {
    this.session.opened(...this.seqs);
  }

  async register(token: string): Promise<void> {
    this.session.registerDevice({ channel: "fcm", token });
  }

  async unregister(token: string): Promise<void> {
    this.session.removeDevice({ channel: "fcm", token });
  }

  async start(): Promise<void> {
    this.session.start();
  }

  stop(): Promise<void> {
    return this.session.stop();
  }

  logout(): Promise<void> {
    return this.session.logout();
  }

  async #until(done: () => boolean): Promise<void> {
    while (!done()) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }

  #change(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}

/** A class of WebSockets that lose acknowledgements. */
function deaf(socket: WebSocketClass): WebSocketClass {
  return class extends socket {
    override send(data: string): void {
      if (JSON.parse(data).t !== "ack") super.send(data);
    }
  };
}

/** A client wherever it runs: each of its methods, with a promise. */
export type Remote = {
  [K in keyof Client as Client[K] extends (...a: never[]) => Promise<unknown> ? K : never]: Client[K];
};

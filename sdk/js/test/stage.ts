import { type Events, type Options, Session } from "@carillon-push/client";
import type { Environment } from "#dist/environment.js";
import { FakeEnvironment, FakeSocket, settle } from "./fake.js";

/** A session in a fake environment, whose WebSockets are the test's, and what it told. */
export class Stage {
  readonly env = new FakeEnvironment();
  readonly sockets: FakeSocket[] = [];
  readonly session: Session;
  /** The seqs of the pushes that were shown to their end. */
  readonly shown: number[] = [];
  readonly states: string[] = [];
  readonly errors: Events["error"][] = [];
  /** What the handler of pushes does beside. */
  handle: (seq: number) => unknown = () => {};
  /** What the probe answers; undefined: no network. */
  probe: Response | undefined;

  constructor(options: Partial<Options> = {}) {
    const { sockets } = this;
    class Socket extends FakeSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    }
    const Own = Session as unknown as new (o: Options, env: Environment) => Session;
    this.session = new Own(
      {
        url: "ws://service",
        sdkappid: 1,
        account: "u1",
        usersig: "sig",
        WebSocket: Socket,
        fetch: async () => this.probe ?? Promise.reject(new TypeError("no network")),
        ...options,
      },
      this.env,
    );
    this.session.on("push", async (push) => {
      await this.handle(push.seq);
      this.shown.push(push.seq);
    });
    this.session.on("state", (s) => this.states.push(s.name === "waiting" ? `${s.reason.kind} ${s.delayMs}` : s.name));
    this.session.on("error", (e) => this.errors.push(e));
  }

  /** The newest WebSocket. */
  get socket(): FakeSocket {
    const s = this.sockets.at(-1);
    if (s === undefined) throw new Error("nobody has connected");
    return s;
  }

  /** Starts and comes to an open session. */
  async begin(pending = 0): Promise<FakeSocket> {
    this.session.start();
    await settle();
    this.socket.hello(pending);
    await settle();
    return this.socket;
  }
}

/** A storage in memory. */
export class FakeStorage {
  readonly items = new Map<string, string>();
  getItem = (key: string) => this.items.get(key) ?? null;
  setItem = (key: string, value: string) => void this.items.set(key, value);
  removeItem = (key: string) => void this.items.delete(key);
}

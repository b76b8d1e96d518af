import { type Arrival, Arrivals } from "./arrivals.js";
import { Attempt } from "./attempt.js";
import { Backoff } from "./backoff.js";
import { type Environment, environment, type Timer } from "./environment.js";
import { type Events, type Handler, Handlers } from "./event.js";
import { type ClientFrame, type Device, type Hello, maxSeqs, readFrame } from "./frame.js";
import { Memory } from "./memory.js";
import { type Options, type Settings, settings } from "./options.js";
import { Outbox } from "./outbox.js";
import { Seen } from "./seen.js";
import type { Reason, State } from "./state.js";
import { type Again, again, type Verdict } from "./verdict.js";

/** So many pushes are remembered, to recognise one that comes again. */
const maxSeen = 4096;
/** A session that was open for so long was a good one: the pauses begin anew. */
const stableMs = 5_000;
/** stop and logout wait so long for the handler of a push that is being shown. */
const handlerMs = 5_000;
/** When the service drains, clients come back after a pause between these two. */
const drainMs = [500, 5_000] as const;

/** From start to the end. */
interface Run {
  /** Nothing new is begun or shown. */
  ending: boolean;
  /** The service is to be told that the user logs out; once told it closes, and that is the end. */
  leaving: boolean;
  told: boolean;
  /** Ends the pause, if there is one. */
  wake(): void;
  done: Promise<void>;
}

/**
 * Receives the pushes for one user, and stays connected until it is stopped or refused: see the README for what it
 * promises.
 */
export class Session {
  readonly #set: Settings;
  readonly #env: Environment;
  readonly #handlers = new Handlers();
  readonly #outbox = new Outbox();
  readonly #memory: Memory;
  readonly #arrivals: Arrivals;
  readonly #backoff: Backoff;
  #state: State = { name: "closed" };
  #run: Run | undefined;
  #attempt: Attempt | undefined;
  #gather: Timer;
  #stable: Timer;
  #saving: Timer;
  /** Who wait until no push is being shown. */
  #idlers: (() => void)[] = [];

  /** Throws a TypeError for options that cannot be. */
  constructor(options: Options);
  /** @internal */
  constructor(options: Options, env: Environment);
  constructor(options: Options, env: Environment = environment()) {
    this.#set = settings(options);
    this.#env = env;
    const seen = new Seen(maxSeen);
    this.#memory = new Memory(this.#set.storage, this.#set.storageKey, seen, this.#outbox);
    this.#backoff = new Backoff(this.#set.firstPauseMs, this.#set.maxPauseMs, () => env.random());
    const desk = {
      show: (a: Arrival) => this.#show(a),
      ack: (seq: number) => this.#ack(seq),
      idle: () => this.#idle(),
    };
    this.#arrivals = new Arrivals(desk, seen, this.#set.maxWaiting);
  }

  /** Where the session is now. */
  get state(): State {
    return this.#state;
  }

  /** Listens for an event until the function that it returns is called. */
  on<K extends keyof Events>(event: K, handler: Handler<K>): () => void {
    return this.#handlers.add(event, handler);
  }

  /**
   * Connects, and stays connected. It does nothing while that is so already, and waits for a stop that is under way.
   * Throws an Error when nobody listens for pushes: they would be lost.
   */
  start(): void {
    if (!this.#handlers.has("push")) throw new Error('nobody listens for pushes: call on("push", …) before start');
    this.#begin();
  }

  /**
   * Ends the session: what was handled is acknowledged, and what was not comes again at the next start. It waits for the
   * handler of the push that is being shown, for up to five seconds: a handler must not wait for stop in turn.
   */
  async stop(): Promise<void> {
    const run = this.#run;
    if (run === undefined) return;
    if (!run.ending) await this.#end(run);
    await run.done;
  }

  /**
   * Ends the session for good: the service forgets this device, and everything that is remembered here is forgotten. It
   * connects first where necessary. It rejects when the service could not be told within the time; then only this side
   * has forgotten.
   */
  async logout(timeoutMs = 10_000): Promise<void> {
    const run = this.#begin();
    run.leaving = true;
    this.#arrivals.clear();
    const timer = this.#env.setTimeout(() => void this.#end(run), timeoutMs);
    await this.#quiet();
    if (this.#state.name === "open" && !run.told) this.#leave(run);
    else if (this.#state.name === "waiting") run.wake();
    await run.done;
    this.#env.clearTimeout(timer);
    this.#env.clearTimeout(this.#saving);
    this.#saving = undefined;
    const { state } = this;
    await this.#attend("forget what is stored", () => this.#memory.clear());
    if (run.ending) throw new Error("the service could not be told of the logout, and may still know this device");
    if (state.name === "refused") throw new Error(`the service refused the session before the logout: ${state.info}`);
  }

  /** Tells the service that the user has opened these pushes. Of those that wait for a session the last 4096 are kept. */
  opened(...seq: number[]): void {
    this.#outbox.open(...seq);
    this.#flush();
    this.#save();
  }

  /** Has the service reach this device by vendor push as well: now, and again in each later session of this object. */
  registerDevice(device: Device): void {
    this.#outbox.device(device, false);
    this.#flush();
  }

  /** Has the service forget the device. */
  removeDevice(device: Device): void {
    this.#outbox.device(device, true);
    this.#flush();
  }

  #begin(): Run {
    const before = this.#run;
    if (before !== undefined && !before.ending) return before;
    const run: Run = { ending: false, leaving: false, told: false, wake() {}, done: Promise.resolve() };
    this.#run = run;
    run.done = this.#live(run, before?.done);
    return run;
  }

  /** From start to the end: one attempt after the other. */
  async #live(run: Run, before: Promise<void> | undefined): Promise<void> {
    await before;
    const off = [
      this.#env.listen("offline", () => this.#drop(again("offline", "the device has no network"))),
      this.#env.listen("online", () => this.#online(run)),
      this.#env.listen("pagehide", () => this.#hide()),
      this.#env.listen("visibilitychange", () => this.#hide()), // all that some phones tell
    ];
    let last: State = { name: "closed" };
    await this.#attend("read what is stored", () => this.#memory.load());
    while (!run.ending) {
      const verdict = await this.#connect(run);
      if (verdict === undefined || (run.told && code(verdict) === normal)) break;
      run.told = false; // whatever ended it, the service may not have heard
      if (verdict.name === "refused") {
        last = verdict;
        break;
      }
      await this.#pause(run, verdict);
    }
    for (const f of off) f();
    this.#backoff.reset();
    await this.#store();
    if (this.#run === run) this.#run = undefined;
    this.#enter(last);
  }

  /** One attempt, and the session that comes of it. Nothing follows when the run is ending. */
  async #connect(run: Run): Promise<Verdict | undefined> {
    this.#enter({ name: "connecting", attempt: this.#backoff.attempts });
    if (run.ending) return undefined; // a handler of the state has stopped it
    const attempt = new Attempt(this.#set, this.#env, {
      opened: () => {
        this.#outbox.renew();
        this.#flush();
      },
      text: (data) => this.#read(run, data),
      unsigned: (error) => this.#handlers.fail({ doing: "ask for a usersig", error }),
    });
    this.#attempt = attempt;
    const verdict = await attempt.run();
    this.#attempt = undefined;
    this.#env.clearTimeout(this.#stable);
    this.#env.clearTimeout(this.#gather);
    this.#gather = undefined;
    return run.ending ? undefined : verdict;
  }

  /** Waits for the next attempt's time. */
  #pause(run: Run, v: Again): Promise<void> {
    return new Promise((resolve) => {
      const delayMs = this.#delay(v);
      const reason: Reason =
        v.reason.kind === "network" && !this.#env.onLine()
          ? { ...v.reason, kind: "offline", info: "the device has no network" }
          : v.reason;
      const timer = delayMs === Infinity ? undefined : this.#env.setTimeout(() => run.wake(), delayMs);
      run.wake = () => {
        this.#env.clearTimeout(timer);
        resolve();
      };
      this.#enter({ name: "waiting", attempt: this.#backoff.attempts, delayMs, reason });
      if (run.ending) run.wake(); // a handler of the state has stopped it
    });
  }

  #delay(v: Again): number {
    if (v.atOnce) return 0;
    switch (v.reason.kind) {
      case "handler":
        return this.#arrivals.idle ? 0 : Infinity;
      case "draining":
        return Math.round(drainMs[0] + this.#env.random() * (drainMs[1] - drainMs[0]));
    }
    return Math.max(v.pauseMs ?? 0, this.#backoff.next());
  }

  /** Takes one frame. */
  #read(run: Run, data: unknown): void {
    let frame: ReturnType<typeof readFrame>;
    try {
      frame = readFrame(data);
    } catch (error) {
      this.#handlers.fail({ doing: "read a frame", error }); // the others are not to suffer from it
      return;
    }
    if (frame === undefined || run.ending) return;
    if (frame.t === "hello") this.#greet(run, frame.hello);
    else if (!run.leaving && !this.#arrivals.take(frame)) {
      this.#drop(again("handler", "pushes came faster than the handler took them"));
    }
  }

  /** The session has begun. */
  #greet(run: Run, hello: Hello): void {
    this.#attempt?.greeted(hello.heartbeat * 1000);
    this.#stable = this.#env.setTimeout(() => this.#backoff.reset(), stableMs);
    this.#enter({ name: "open" });
    this.#handlers.tell("hello", hello);
    if (run.leaving) this.#leave(run);
  }

  #leave(run: Run): void {
    this.#flush();
    run.told = this.#send({ t: "logout" });
  }

  /** The network is back: an attempt that began without it is begun again. */
  #online(run: Run): void {
    if (this.#state.name === "waiting" && this.#state.reason.kind !== "handler") run.wake();
    else if (this.#state.name === "connecting")
      this.#drop({ ...again("network", "the network is back"), atOnce: true });
  }

  /** The page may be gone in a moment. */
  #hide(): void {
    this.#flush();
    void this.#store();
  }

  /** Ends the run in good order. */
  async #end(run: Run): Promise<void> {
    run.ending = true;
    this.#arrivals.clear();
    run.wake();
    if (this.#state.name !== "open") {
      this.#drop(again("network", "stopped"));
      return;
    }
    await this.#quiet();
    this.#flush();
    this.#attempt?.close();
  }

  /** Resolves when no push is being shown any more, or takes too long. */
  #quiet(): Promise<void> {
    if (this.#arrivals.idle) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#env.setTimeout(resolve, handlerMs);
      this.#idlers.push(() => {
        this.#env.clearTimeout(timer);
        resolve();
      });
    });
  }

  #drop(why: Verdict): void {
    this.#attempt?.drop(why);
  }

  async #show(a: Arrival): Promise<boolean> {
    try {
      if ("revoke" in a) await this.#handlers.give("revoke", a.revoke);
      else if (this.#handlers.has("push")) await this.#handlers.give("push", a.push);
      else return false;
      return true;
    } catch (error) {
      const of = "push" in a ? { push: a.push } : { revoke: a.revoke };
      this.#handlers.fail({ doing: "handle what has come", error, ...of });
      return false;
    }
  }

  #idle(): void {
    for (const idler of this.#idlers.splice(0)) idler();
    if (this.#state.name === "waiting" && this.#state.reason.kind === "handler") this.#run?.wake();
  }

  #ack(seq: number): void {
    this.#outbox.ack(seq);
    this.#save();
    if (this.#outbox.acks >= maxSeqs) this.#flush();
    else if (this.#attempt !== undefined)
      this.#gather ??= this.#env.setTimeout(() => this.#flush(), this.#set.gatherMs);
  }

  /** Sends what waits, as far as there is a connection. */
  #flush(): void {
    this.#env.clearTimeout(this.#gather);
    this.#gather = undefined;
    this.#outbox.flush((frame) => this.#send(frame));
  }

  #send(frame: ClientFrame): boolean {
    return this.#attempt?.send(frame) ?? false;
  }

  /** Stores soon what is to be remembered, once for all that happens until then. */
  #save(): void {
    if (this.#set.storage === undefined) return;
    this.#saving ??= this.#env.setTimeout(() => {
      this.#saving = undefined;
      void this.#store();
    }, 0);
  }

  #store(): Promise<void> {
    return this.#attend("store what is to be remembered", () => this.#memory.save());
  }

  /** Does something that may fail without harm to the session. */
  async #attend(doing: string, f: () => Promise<void>): Promise<void> {
    try {
      await f();
    } catch (error) {
      this.#handlers.fail({ doing, error });
    }
  }

  #enter(state: State): void {
    this.#state = state;
    this.#handlers.tell("state", state);
  }
}

/** The close code of a session that was ended in good order. */
const normal = 1000;

function code(v: Verdict): number {
  return v.name === "again" ? v.reason.code : v.code;
}

import type { Hello, Push, Revoke } from "./frame.js";
import type { State } from "./state.js";

/** Something that went wrong beside the session, which goes on. */
export interface Failure {
  /** What was being done. */
  doing: string;
  /** What was thrown. */
  error: unknown;
  /** The push or the revocation that a handler threw at. It was not acknowledged and comes again at the next login. */
  push?: Push;
  revoke?: Revoke;
}

/** What a session tells, by the name under which `on` listens for it. */
export interface Events {
  push: Push;
  revoke: Revoke;
  hello: Hello;
  state: State;
  error: Failure;
}

/** A push or a revocation counts as handled when what its handler returns has resolved. The other events wait for nobody. */
export type Handler<K extends keyof Events> = K extends "push" | "revoke"
  ? (event: Events[K]) => unknown
  : (event: Events[K]) => void;

/** The handlers of each event, in the order in which they were added. */
export class Handlers {
  #of: { [K in keyof Events]: Set<Handler<K>> } = {
    push: new Set(),
    revoke: new Set(),
    hello: new Set(),
    state: new Set(),
    error: new Set(),
  };

  /** Throws a TypeError for an event that there is not. */
  add<K extends keyof Events>(event: K, handler: Handler<K>): () => void {
    const handlers: Set<Handler<K>> | undefined = this.#of[event];
    if (handlers === undefined) throw new TypeError(`there is no event ${JSON.stringify(event)}`);
    const own = ((e: Events[K]) => handler(e as never)) as Handler<K>; // the same function may be added twice
    handlers.add(own);
    return () => void handlers.delete(own);
  }

  has(event: keyof Events): boolean {
    return this.#of[event].size > 0;
  }

  /** Tells all; a handler that throws keeps none of the others from it. */
  tell<K extends "hello" | "state" | "error">(event: K, e: Events[K]): void {
    for (const handler of [...this.#of[event]]) {
      try {
        (handler as (e: Events[K]) => void)(e);
      } catch (error) {
        if (event === "error") console.error("carillon: an error handler failed:", error);
        else this.fail({ doing: `tell a handler of ${event}`, error });
      }
    }
  }

  /** Gives a push or a revocation to one handler after the other, until one fails. */
  async give<K extends "push" | "revoke">(event: K, e: Events[K]): Promise<void> {
    for (const handler of [...this.#of[event]]) await (handler as (e: Events[K]) => unknown)(e);
  }

  /** Tells of a failure: on the console when nobody listens, since it must not go unseen. */
  fail(f: Failure): void {
    if (this.has("error")) this.tell("error", f);
    else console.error(`carillon: ${f.doing}:`, f.error);
  }
}

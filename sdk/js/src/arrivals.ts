import type { Push, Revoke } from "./frame.js";
import type { Seen } from "./seen.js";

/** A push, or a revocation with what acknowledges it. */
export type Arrival = { push: Push } | { revoke: Revoke; ack?: number };

/** What arrivals are given to, and what becomes of them. */
export interface Desk {
  /** Shows one to the app, and says whether that went well. It never rejects, and the next is not shown before it ends. */
  show(a: Arrival): Promise<boolean>;
  /** The service is to be told that these need not come again. */
  ack(seq: number): void;
  /** Nothing waits any more. */
  idle(): void;
}

/**
 * What has come and is to be shown: in order, one at a time, each once. What was shown is acknowledged, and again when it
 * comes again. What failed is neither acknowledged nor remembered: it comes again at the next login.
 */
export class Arrivals {
  #waiting: Arrival[] = [];
  #current: Arrival | undefined;

  constructor(
    readonly desk: Desk,
    readonly seen: Seen,
    readonly limit: number,
  ) {}

  /** Whether nothing waits and nothing is being shown. */
  get idle(): boolean {
    return this.#current === undefined && this.#waiting.length === 0;
  }

  /** Takes what has come; false when there is no room, so that it must come again. */
  take(a: Arrival): boolean {
    const seq = number(a);
    if (seq !== undefined) {
      if (this.seen.recall(seq, moment(a))) {
        this.desk.ack(seq);
        return true;
      }
      if (this.#holds(seq)) return true;
    }
    if (this.#waiting.length >= this.limit) return false;
    if ("revoke" in a) this.#withdraw(a.revoke.seq);
    this.#waiting.push(a);
    if (this.#current === undefined) void this.#show();
    return true;
  }

  /** Forgets what waits; what is being shown goes on. */
  clear(): void {
    this.#waiting = [];
  }

  #holds(seq: number): boolean {
    return (
      (this.#current !== undefined && number(this.#current) === seq) || this.#waiting.some((a) => number(a) === seq)
    );
  }

  /** A push that was cancelled before it was shown never is, and not when it comes behind its revocation either. */
  #withdraw(seq: number): void {
    if (this.#current !== undefined && "push" in this.#current && this.#current.push.seq === seq) return;
    if (this.seen.recall(seq, 0)) return;
    const i = this.#waiting.findIndex((a) => "push" in a && a.push.seq === seq);
    const [push] = i < 0 ? [] : this.#waiting.splice(i, 1);
    this.seen.add(seq, push === undefined ? 0 : moment(push));
    if (push !== undefined) this.desk.ack(seq);
  }

  /** Shows until nothing waits. */
  async #show(): Promise<void> {
    for (let a = this.#waiting.shift(); a !== undefined; a = this.#waiting.shift()) {
      this.#current = a;
      const shown = await this.desk.show(a);
      this.#current = undefined;
      const seq = number(a);
      if (shown && seq !== undefined) {
        this.seen.add(seq, moment(a));
        this.desk.ack(seq);
      }
    }
    this.desk.idle();
  }
}

/** What acknowledges an arrival. */
function number(a: Arrival): number | undefined {
  return "push" in a ? a.push.seq : a.ack;
}

/** When the service accepted it, in milliseconds; 0 when unknown. */
function moment(a: Arrival): number {
  return "push" in a ? a.push.at.getTime() : 0;
}

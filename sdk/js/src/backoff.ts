/**
 * How long to pause before the next attempt: anything from nothing to a limit that doubles with each attempt, so that
 * clients that lost their server together do not come back together ("full jitter").
 */
export class Backoff {
  #attempts = 0;

  constructor(
    readonly firstMs: number,
    readonly maxMs: number,
    readonly random: () => number,
  ) {}

  /** Attempts since the last that went well. */
  get attempts(): number {
    return this.#attempts;
  }

  next(): number {
    const limit = Math.min(this.maxMs, this.firstMs * 2 ** this.#attempts);
    this.#attempts++;
    return Math.round(this.random() * limit);
  }

  reset(): void {
    this.#attempts = 0;
  }
}

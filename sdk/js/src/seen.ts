/**
 * The last pushes that were shown, to recognise one that comes again because its acknowledgement was lost.
 *
 * A push is its seq together with the moment of its acceptance. A seq that is known with another moment is another
 * push: the service began anew, without its data, and counts from 1 again. Then nothing that is remembered holds.
 */
export class Seen {
  /** Oldest first; the moment is 0 where it is not known. */
  #at = new Map<number, number>();

  constructor(readonly limit: number) {}

  /** Whether a push was added, at 0 whatever its moment. */
  recall(seq: number, at: number): boolean {
    const known = this.#at.get(seq);
    if (known === undefined) return false;
    if (known === 0 || at === 0 || known === at) return true;
    this.#at.clear();
    return false;
  }

  add(seq: number, at: number): void {
    this.#at.delete(seq); // it becomes the newest
    this.#at.set(seq, at);
    if (this.#at.size > this.limit) {
      for (const oldest of this.#at.keys()) {
        this.#at.delete(oldest);
        break;
      }
    }
  }

  clear(): void {
    this.#at.clear();
  }

  /** Pairs of seq and moment, oldest first, in one list. */
  list(): number[] {
    return [...this.#at].flat();
  }
}

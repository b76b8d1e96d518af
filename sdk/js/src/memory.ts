import type { Outbox } from "./outbox.js";
import type { Seen } from "./seen.js";

/** Where a session remembers across reloads: sessionStorage, localStorage, or anything like them, promises or not. */
export interface StorageLike {
  getItem(key: string): string | null | undefined | Promise<string | null | undefined>;
  setItem(key: string, value: string): unknown;
  removeItem(key: string): unknown;
}

/** What a session remembers across reloads: the pushes that it has shown, and what the service has yet to be told. */
export class Memory {
  constructor(
    readonly storage: StorageLike | undefined,
    readonly key: string,
    readonly seen: Seen,
    readonly outbox: Outbox,
  ) {}

  /** Adds what is stored. What is not ours, or of a later version, counts as nothing. */
  async load(): Promise<void> {
    const text = await this.storage?.getItem(this.key);
    if (!text) return;
    const stored = parse(text);
    if (stored === undefined) return;
    const [seen, acks, opened] = stored;
    for (let i = 0; i + 1 < seen.length; i += 2) this.seen.add(seen[i] as number, seen[i + 1] as number);
    this.outbox.ack(...acks);
    this.outbox.open(...opened);
  }

  async save(): Promise<void> {
    const { acks, opened } = this.outbox.list();
    await this.storage?.setItem(this.key, JSON.stringify({ v: 1, seen: this.seen.list(), acks, opened }));
  }

  async clear(): Promise<void> {
    this.seen.clear();
    this.outbox.clear();
    await this.storage?.removeItem(this.key);
  }
}

function parse(text: string): [seen: number[], acks: number[], opened: number[]] | undefined {
  try {
    const { v, seen, acks, opened } = JSON.parse(text);
    if (v === 1 && numbers(seen) && numbers(acks) && numbers(opened)) return [seen, acks, opened];
  } catch {
    // not JSON, or null
  }
  return undefined;
}

function numbers(v: unknown): v is number[] {
  return Array.isArray(v) && v.every((n) => Number.isSafeInteger(n) && n >= 0);
}

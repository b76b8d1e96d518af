import { type ClientFrame, type Device, maxSeqs } from "./frame.js";

/** At most so many acknowledgements, and so many opened pushes, wait for a session; the oldest give way. */
export const maxUnsent = 4096;
/** At most so many devices of one client. */
export const maxDevices = 16;

/**
 * What the service has yet to be told. It survives sessions: what one could not send, the next sends first. What was
 * handed to a socket that then broke is gone, which costs nothing for an acknowledgement: the push comes again and is
 * acknowledged again.
 */
export class Outbox {
  #acks = new Set<number>();
  #opened = new Set<number>();
  /** By channel and token. One to be removed is forgotten once that was sent; the others are sent on each session. */
  #devices = new Map<string, { device: Device; remove: boolean; sent: boolean }>();

  /** Acknowledgements that wait. */
  get acks(): number {
    return this.#acks.size;
  }

  ack(...seqs: number[]): void {
    add(this.#acks, seqs);
  }

  open(...seqs: number[]): void {
    add(this.#opened, seqs);
  }

  /** Throws a RangeError for one device too many. */
  device(device: Device, remove: boolean): void {
    const key = JSON.stringify([device.channel, device.token]);
    if (!this.#devices.has(key) && this.#devices.size >= maxDevices) {
      throw new RangeError(`at most ${maxDevices} devices can be registered or wait to be removed`);
    }
    this.#devices.set(key, { device: { channel: device.channel, token: device.token }, remove, sent: false });
  }

  /** A new session knows of no device. */
  renew(): void {
    for (const d of this.#devices.values()) d.sent = false;
  }

  /** Hands everything that waits to send, until that says no. */
  flush(send: (frame: ClientFrame) => boolean): void {
    flushSeqs(this.#acks, "ack", send);
    flushSeqs(this.#opened, "opened", send);
    for (const [key, d] of this.#devices) {
      if (d.sent) continue;
      if (!send({ t: "device", ...d.device, ...(d.remove ? { remove: true } : {}) })) return;
      d.sent = true;
      if (d.remove) this.#devices.delete(key);
    }
  }

  clear(): void {
    this.#acks.clear();
    this.#opened.clear();
    this.#devices.clear();
  }

  /** What is to survive the page. Devices are not: an app registers its own at each start. */
  list(): { acks: number[]; opened: number[] } {
    return { acks: [...this.#acks], opened: [...this.#opened] };
  }
}

function add(set: Set<number>, seqs: number[]): void {
  for (const seq of seqs) set.add(seq);
  for (const oldest of set) {
    if (set.size <= maxUnsent) break;
    set.delete(oldest);
  }
}

function flushSeqs(set: Set<number>, t: "ack" | "opened", send: (frame: ClientFrame) => boolean): void {
  while (set.size > 0) {
    const seq = [...set].slice(0, maxSeqs);
    if (!send({ t, seq })) return;
    for (const s of seq) set.delete(s);
  }
}

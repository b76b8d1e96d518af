/** What a session needs of the place where it runs; tests have one whose time they move themselves. */
export interface Environment {
  /** Milliseconds since 1970. */
  now(): number;
  /** From 0 to below 1. */
  random(): number;
  setTimeout(f: () => void, ms: number): Timer;
  clearTimeout(t: Timer | undefined): void;
  /** False when it is known that there is no network. */
  onLine(): boolean;
  /** Calls f at each such event of the page, until the returned function is called. Node has none of them. */
  listen(type: "online" | "offline" | "pagehide" | "visibilitychange", f: () => void): () => void;
}

/** A handle of setTimeout: a number in browsers, an object in Node. */
export type Timer = unknown;

/** The browser's, the worker's or Node's own. */
export function environment(): Environment {
  const page: Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">> = globalThis;
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (f, ms) => setTimeout(f, ms),
    clearTimeout: (t) => clearTimeout(t as number),
    onLine: () => globalThis.navigator?.onLine !== false,
    listen(type, f) {
      page.addEventListener?.(type, f);
      return () => page.removeEventListener?.(type, f);
    },
  };
}

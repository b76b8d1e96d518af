import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { root } from "./service.js";

const types: Record<string, string> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript" };

/** Serves the files of this package as they are, on a free port, and what else a test wants by path. */
export class Pages {
  readonly more = new Map<string, () => Promise<string>>();
  #server: Server;

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const { pathname } = new URL(request.url ?? "/", "http://pages");
      try {
        const more = this.more.get(pathname);
        const text = more === undefined ? await readFile(join(root, normalize(pathname))) : await more();
        response.writeHead(200, { "Content-Type": types[extname(pathname)] ?? "text/plain; charset=utf-8" }).end(text);
      } catch {
        response.writeHead(404).end();
      }
    });
  }

  static async start(): Promise<Pages> {
    const p = new Pages();
    await new Promise<void>((resolve) => p.#server.listen(0, "127.0.0.1", resolve));
    return p;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

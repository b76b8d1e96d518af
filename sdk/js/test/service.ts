import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** The root of this package. */
export const root = fileURLToPath(new URL("../../", import.meta.url));

/** The real service in a process of its own, on free ports: see cmd/internal/sdktest. */
export class Service {
  readonly rest!: string;
  readonly sessions!: string;
  readonly sdkappid!: number;
  readonly admin!: string;
  readonly apiKey!: string;
  #process: ChildProcess;
  #answers: AsyncIterator<string>;
  #last = 0;
  #random = 0;

  private constructor() {
    this.#process = spawn(`${root}.build/sdktest`, { stdio: ["pipe", "pipe", "inherit"] });
    const { stdout } = this.#process;
    if (stdout === null) throw new Error("the service has no output");
    this.#answers = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  static async start(): Promise<Service> {
    const s = new Service();
    return Object.assign(s, await s.#line());
  }

  /** A signature for an account; below zero it has expired already. */
  async usersig(account: string, expire = 3600): Promise<string> {
    return (await this.#ask({ do: "usersig", account, expire })).usersig as string;
  }

  /** Stops the service, and starts it again on the same ports. */
  async halt(): Promise<void> {
    await this.#ask({ do: "stop" });
  }

  async resume(): Promise<void> {
    await this.#ask({ do: "start" });
  }

  /** Ends the process. */
  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once("exit", resolve));
    this.#process.stdin?.end();
    await ended;
  }

  /** Calls a command as the operator. */
  async call(command: string, body: unknown): Promise<Record<string, unknown>> {
    const usersig = await this.usersig(this.admin);
    const query = new URLSearchParams({
      sdkappid: String(this.sdkappid),
      identifier: this.admin,
      usersig,
      random: "1",
      contenttype: "json",
    });
    const response = await fetch(`${this.rest}/v4/${command}?${query}`, { method: "POST", body: JSON.stringify(body) });
    const answer = (await response.json()) as Record<string, unknown>;
    if (answer.ActionStatus !== "OK") throw new Error(`${command}: ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Makes an account that push can reach alone. */
  async account(name: string): Promise<void> {
    await this.call("im_open_login_svc/account_import", { UserID: name });
    await this.call("all_member_push/im_add_tag", { UserTags: [{ To_Account: name, Tags: [name] }] });
  }

  /** Pushes a text to one account, for an hour unless said otherwise, and gives the TaskId. */
  async push(account: string, text: string, lifetime = 3600): Promise<string> {
    const answer = await this.call("all_member_push/im_push", {
      MsgRandom: ++this.#random,
      MsgLifeTime: lifetime,
      Condition: { TagsOr: [account] },
      MsgBody: [{ MsgType: "TIMTextElem", MsgContent: { Text: text } }],
    });
    return answer.TaskId as string;
  }

  /** Waits until the service has no session of the account any more, and so has heard all that it said. */
  async gone(account: string): Promise<void> {
    for (;;) {
      const answer = await this.call("openim/query_online_status", { To_Account: [account] });
      if ((answer.QueryResult as { Status: string }[])[0]?.Status !== "Online") return;
    }
  }

  /** How many devices the service has registered, and how many it has forgotten. */
  async devices(): Promise<[registered: number, forgotten: number]> {
    const text = await (await fetch(`${this.rest}/metrics`)).text();
    const count = (result: string) => {
      const line = new RegExp(`^carillon_deliver_devices_total\\{result="${result}"\\} (\\d+)$`, "m").exec(text);
      return Number(line?.[1] ?? 0);
    };
    return [count("registered"), count("forgotten")];
  }

  /** Cancels a push: when it has resolved, nobody gets it who has not got it. */
  async revoke(id: string): Promise<void> {
    const response = await fetch(`${this.rest}/v1/pushes/${id}`, {
      method: "DELETE",
      headers: { Authorization: `Bearer ${this.apiKey}` },
    });
    if (!response.ok) throw new Error(`cancel ${id}: HTTP ${response.status} ${await response.text()}`);
  }

  async #ask(request: object): Promise<Record<string, unknown>> {
    const id = ++this.#last;
    this.#process.stdin?.write(`${JSON.stringify({ id, ...request })}\n`);
    const answer = await this.#line(); // in order
    if (answer.id !== id || answer.error !== undefined) throw new Error(`the service: ${JSON.stringify(answer)}`);
    return answer;
  }

  async #line(): Promise<Record<string, unknown>> {
    const { value, done } = await this.#answers.next();
    if (done) throw new Error("the service has ended");
    return JSON.parse(value);
  }
}

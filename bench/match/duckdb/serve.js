// Runs each line of stdin, {"sql": …, "fetch": …}, on a DuckDB of its own in memory, and answers each with a line: {"rows": …, "first": …},
// how many rows came and what stands first in the first of them, or {"error": …}. Its arguments are the settings. It ends when stdin does.
import { createInterface } from "node:readline";
import { DuckDBInstance } from "@duckdb/node-api";

const instance = await DuckDBInstance.create(":memory:", JSON.parse(process.argv[2]));
const connection = await instance.connect();

async function answer({ sql }) {
  const result = await connection.stream(sql);
  let rows = 0;
  let first = null;
  for (;;) {
    const chunk = await result.fetchChunk();
    if (!chunk || chunk.rowCount === 0) return { rows, first };
    if (rows === 0) first = String(chunk.getColumnVector(0).getItem(0));
    rows += chunk.rowCount;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = await answer(JSON.parse(line));
  } catch (error) {
    reply = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
}

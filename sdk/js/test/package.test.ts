import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { root } from "./service.js";

const read = (name: string) => readFile(join(root, name), "utf8");

test("the README states the size, minified and gzipped", async () => {
  const bundle = await build({
    entryPoints: [join(root, "dist/index.js")],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  const code = bundle.outputFiles[0]?.contents ?? new Uint8Array();
  const actual = gzipSync(code, { level: 9 }).length / 1000;
  const stated = /\*\*([\d.]+) kB\*\* minified and gzipped/.exec(await read("README.md"))?.[1];
  assert.ok(Math.abs(Number(stated) - actual) <= 0.1, `the README says ${stated} kB; it is ${actual} kB`);
});

test("nothing is needed at run time, and what the tests need is pinned", async () => {
  const p = JSON.parse(await read("package.json"));
  assert.equal(p.dependencies, undefined);
  assert.equal(p.peerDependencies, undefined);
  for (const [name, version] of Object.entries(p.devDependencies))
    assert.match(String(version), /^\d+\.\d+\.\d+$/, name);
  for (const name of ["index", "session", "attempt", "link"]) {
    for (const [, from] of (await read(`dist/${name}.js`)).matchAll(/ from "(.+?)"/g))
      assert.match(from ?? "", /^\.\//);
  }
});

test("the lock names no host but those of funding pages", async () => {
  const lock = await read("package-lock.json");
  const { packages } = JSON.parse(lock) as { packages: Record<string, { resolved?: string; integrity?: string }> };
  for (const [name, p] of Object.entries(packages)) {
    assert.equal(p.resolved, undefined, name);
    assert.ok(name === "" || p.integrity?.startsWith("sha512-"), name);
  }
  for (const [url] of lock.matchAll(/https?:[^"]+/g))
    assert.match(url, /^https:\/\/(opencollective\.com|github\.com\/sponsors)\//);
});

test("the README names every option, event, state and reason", async () => {
  const readme = await read("README.md");
  const names = (text: string, begin: string, pattern: RegExp) => {
    const from = text.indexOf(begin);
    assert.ok(from >= 0, begin);
    return [...text.slice(from, text.indexOf("\n}", from)).matchAll(pattern)].map(([, name]) => name ?? "");
  };
  const members = /^ {2}(\w+)\??:/gm;
  const state = await read("src/state.ts");
  const session = await read("src/session.ts");
  const kinds = names(state, "export interface Reason", /^ {4}\| "(\w+)"/gm);
  const all = [
    ...names(await read("src/options.ts"), "export interface Options", members),
    ...names(await read("src/event.ts"), "export interface Events", members),
    ...kinds,
    ...[...state.matchAll(/name: "(\w+)"/g)].map(([, name]) => name ?? ""),
    ...[
      ...session
        .slice(session.indexOf("export class Session"))
        .matchAll(/^ {2}(?:async )?(?!constructor)([a-z]\w+)[(<]/gm),
    ].map(([, name]) => name ?? ""),
  ];
  assert.ok(kinds.length === 7 && all.length > 30, all.join());
  for (const name of all) assert.ok(new RegExp(`\`${name}\\b`).test(readme), `the README says nothing of ${name}`);
});

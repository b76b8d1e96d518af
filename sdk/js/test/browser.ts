import { execFileSync } from "node:child_process";
import { type Browser, chromium } from "playwright-core";

/** Launches the Chromium that is installed: CHROMIUM says where, or it is on the PATH. */
export function launch(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? find();
  // Its sandbox does not work for root; the pages are our own.
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
}

function find(): string {
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    try {
      return execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      // the next
    }
  }
  throw new Error(
    "the tests need Chromium: install it (Debian: apt-get install chromium), or set CHROMIUM to its path",
  );
}

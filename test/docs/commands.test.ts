import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { runCommand } from "../../host/cli/commands.ts";
import { runImage } from "../../image/cli/command.ts";
import { runSimCommand } from "../../sim/cli.ts";
import { spoken } from "../helpers/spoken.ts";

const ROOT = path.resolve(import.meta.dirname, "../..");
const DOCS = readdirSync(path.join(ROOT, "docs")).filter((name) => name.endsWith(".md"));
const PAGES = ["README.md", ...DOCS.map((name) => `docs/${name}`)];

/** Commands whose second word says what they do. */
const GROUPS = [
  ...["vault", "attest", "registry", "policy", "governance", "image", "sim"],
  ...["aggregator", "coordinator"],
];

/** The code of a page: what is indented, and what stands between fences. */
function codeOf(page: string): string {
  const text = readFileSync(path.join(ROOT, page), "utf8").replaceAll(/ *\\\n */g, " ");
  const fenced = [...text.matchAll(/^```.*\n([^]*?)^```$/gm)].map(([, code]) => code);
  const indented = [...text.matchAll(/^ {4}.*$/gm)].map(([line]) => line.trimStart());
  return [...fenced, ...indented].join("\n");
}

/** Words of each command in it; two spaces begin what is said about one. */
function commandsOf(page: string): readonly (readonly string[])[] {
  return [...codeOf(page).matchAll(/^(?:symphony|node bin\/symphony\.js) (.+)$/gm)]
    .map(([, words = ""]) => words.split(/ {2,}| [|>#] /)[0] ?? "")
    .map((words) => words.replaceAll(/[[\]]/g, "").split(" "));
}

/** What `--help` says after these words. */
async function helpFor(words: readonly string[]): Promise<string> {
  const [first, ...rest] = [...words, "--help"];
  const { out } = await spoken((io) => {
    const image = { ...io, repositoryRoot: ROOT, home: "", nowMs: Date.now };
    const sim = {
      ...{ io, repositoryRoot: ROOT, nowMs: Date.now, signal: AbortSignal.abort() },
      random: (bytes: number) => new Uint8Array(bytes),
    };
    switch (first) {
      case "image":
        return runImage(rest, image);
      case "demo":
      case "up":
      case "sim":
        return runSimCommand([first, ...rest], sim);
      default:
        return runCommand([first ?? "", ...rest], io);
    }
  });
  return out;
}

test.for(PAGES)("%s tells of commands and options that there are", async (page) => {
  const unknown: string[] = [];
  for (const words of commandsOf(page)) {
    const end = words.findIndex((word) => word.startsWith("-"));
    const names = end < 0 ? words : words.slice(0, end);
    const help = await helpFor(names);
    const [first = "", second = ""] = words;
    const named = GROUPS.includes(first)
      ? new RegExp(`^(?:symphony ${first}| ) ${second}\\b`, "m")
      : new RegExp(`^symphony ${first}\\b`, "m");
    const options = words.filter((word) => /^--[a-z]/.test(word));
    const known = options.every((option) => new RegExp(`${option}\\b`).test(help));
    if (first.startsWith("-") || (named.test(help) && known)) continue;
    unknown.push(words.join(" "));
  }
  expect(unknown).toEqual([]);
});

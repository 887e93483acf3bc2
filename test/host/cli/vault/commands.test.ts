import * as fs from "node:fs";
import path from "node:path";

import { beforeEach, expect, test } from "vitest";

import { ask, begin } from "../../sovereignty/operator/run-task.ts";
import { EXIT } from "../../../../cli/index.ts";
import { symphony } from "../../../helpers/spoken.ts";
import { operate, type Operated } from "../../http/vault/operated.ts";
import {
  customerCsv,
  bytesIn,
  newFixture,
  stocked,
  targetOf,
  type Fixture,
} from "../../sovereignty/vault-fixture.ts";

let fixture: Fixture;
let operated: Operated;

beforeEach(async () => {
  fixture = await newFixture();
  operated = await operate(fixture);
});

async function filled(): Promise<void> {
  const source = bytesIn(customerCsv(3));
  const target = targetOf(fixture, "customers");
  await fixture.vault.ingest({ ...target, format: "csv", source, onError: "abort" });
}

/** The commands that `symphony vault` lists. */
async function listed(): Promise<string[]> {
  const { out } = await symphony("vault", "--help");
  return out.split("\n").flatMap((line) => /^ {2}(\S+(?: \S+)?) {2,}\S/.exec(line)?.[1] ?? []);
}

test("alone it lists the commands and is a usage error; with --help it lists them and is fine", async () => {
  const alone = await symphony("vault");
  expect(alone).toMatchObject({ exit: EXIT.usage, out: "" });
  expect(await symphony("vault", "--help")).toEqual({ exit: EXIT.ok, out: alone.err, err: "" });
  expect(await listed()).toEqual(expect.arrayContaining(["status", "consent", "grant", "revoke"]));
});

test("each command explains itself, and refuses an option and a word that it does not know", async () => {
  for (const command of await listed()) {
    const words = command.split(" ");
    const help = await symphony("vault", ...words, "--help");
    expect(help).toMatchObject({ exit: EXIT.ok, err: "" });
    expect(help.out).toContain(`symphony vault ${command} `);
    const isOffline = ["restore", "run"].includes(command);
    expect(help.out).toContain("--json");
    expect(help.out.includes("--vault DIR")).toBe(!isOffline);
    const bogus = await symphony("vault", ...words, "--bogus");
    expect({ command, ...bogus }).toMatchObject({ exit: EXIT.usage, out: "" });
    expect(bogus.err).toContain("--bogus");
    const many = [...words, "a", "b", "c", "d"];
    const more = isOffline ? await symphony("vault", ...many) : await operated.vault(...many);
    expect({ command, ...more }).toMatchObject({ exit: EXIT.usage, out: "" });
  }
});

test("every command needs --vault, and says so", async () => {
  for (const command of await listed()) {
    const { err, exit } = await symphony("vault", ...command.split(" "));
    expect({ command, exit }).toEqual({ command, exit: EXIT.usage });
    expect(err).toMatch(/expected/);
  }
  expect((await symphony("vault", "status")).err).toContain("--vault: expected a value");
});

test("an unknown command names the known ones", async () => {
  const { exit, err } = await operated.vault("frobnicate");
  expect(exit).toBe(EXIT.usage);
  expect(err).toContain("status");
  expect(err).toContain("got frobnicate");
});

test("[PL-1] the operator consents and grants by command, and sees it", async () => {
  await filled();
  const consent = ["consent", "--purpose", "marketing", "--state", "granted", "--json"];
  expect(await operated.vault(...consent)).toEqual({
    exit: EXIT.ok,
    out: '{"subjects":3}\n',
    err: "",
  });
  const grant = [
    "--grant",
    "g-1",
    "--actor",
    "analyst",
    "--class",
    "query",
    "--scope",
    "customers",
  ];
  expect(await operated.vault("grant", ...grant)).toMatchObject({ exit: EXIT.ok });
  expect(await operated.vault("grant", ...grant)).toMatchObject({ exit: EXIT.refused });
  expect(await operated.vault("revoke", "--grant", "g-1")).toMatchObject({ exit: EXIT.ok });
  const { out } = await operated.vault("status", "--json");
  expect(JSON.parse(out)).toMatchObject({ records: 3, subjects: 3 });
});

test("a file of subjects names whom a decision is about", async () => {
  await filled();
  const file = path.join(fixture.directory, "subjects.txt");
  fs.writeFileSync(file, "p1@example.org\r\n\np2@example.org\n");
  const words = ["consent", "--purpose", "training", "--state", "granted", "--subjects", file];
  expect((await operated.vault(...words, "--json")).out).toBe('{"subjects":2}\n');
});

test("a Vault that does not answer is exit code 3, a folder without one a usage error", async () => {
  await operated.close();
  const away = await operated.vault("status", "--json");
  expect(away.exit).toBe(EXIT.unavailable);
  expect(JSON.parse(away.err)).toMatchObject({ error: "COORDINATION_UNAVAILABLE" });
  const nowhere = await symphony("vault", "status", "--vault", "/nowhere");
  expect(nowhere.exit).toBe(EXIT.usage);
  expect(nowhere.err).toContain("/nowhere/operator.json");
});

test("[PB-8] one screen says how the Vault stands: records, consents, budgets, what is frozen and flagged", async () => {
  await stocked(fixture);
  await begin(fixture, await ask(fixture, "one"));
  await ask(fixture, "two");
  await fixture.vault.setConsent({
    ...{ usageScope: "marketing", subjects: ["c-3"], decision: { state: "withdrawn" } },
  });
  const { out } = await operated.vault("status");
  expect(out).toContain("records       12 in 2 batches");
  expect(out).toContain("1 reserved, 1 executing");
  expect(out).toContain("0 tasks over their reservation");
  expect(out).toMatch(/marketing +11 +12 +0 +2000000 +1\n/);
  expect(out).toMatch(/witnesses +confirmed/);
  expect(out).not.toContain("c-3");
});

import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";

import { expect, test } from "vitest";

import { TASK_REQUEST } from "../../../protocol/index.ts";
import { newFixture, newFolder, requestOf, type Fixture } from "./vault-fixture.ts";

const COST = 8_000_000;
const ROOT = path.resolve(import.meta.dirname, "../../..");

/** Runs the child until it kills itself with -9; then opens what it left. */
async function crashed(stage: string, at = 0): Promise<Fixture> {
  const directory = path.join(newFolder(), "vault");
  const script = path.join(import.meta.dirname, "crash-child.ts");
  const child = spawn(process.execPath, [script, directory, stage, String(at)], {
    cwd: ROOT,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const errors: string[] = [];
  child.stderr.on("data", (text) => errors.push(String(text)));
  const [, signal] = await once(child, "exit");
  if (signal !== "SIGKILL") throw new Error(`expected SIGKILL, got: ${errors.join("")}`);
  return await newFixture({ directory });
}

async function marketing(fixture: Fixture) {
  const status = await fixture.vault.status();
  const found = status.budgets.find((each) => each.usageScope === "marketing");
  return {
    ...status.reservations,
    consumed: found?.consumedMaxMicro,
    held: found?.reservedMaxMicro,
  };
}

async function abort(fixture: Fixture): Promise<void> {
  const { request } = await requestOf(fixture, "a");
  const requestDigest = TASK_REQUEST.digest(request);
  await fixture.vault.abort({ envelopeDigest: new Uint8Array(32), requestDigest });
}

const NOTHING = { reserved: 0, executing: 0, consumed: 0, held: 0 };
const RESERVED = { reserved: 1, executing: 0, consumed: 0, held: COST };
const EXECUTING = { reserved: 0, executing: 1, consumed: 0, held: COST };
const COMMITTED = { reserved: 0, executing: 0, consumed: COST, held: 0 };

test.for([
  { title: "while deciding", stage: "decide", at: 3, left: NOTHING, end: NOTHING },
  { title: "after deciding", stage: "decided", at: 0, left: RESERVED, end: NOTHING },
  {
    title: "while beginning, before the entry",
    stage: "begin",
    at: 1,
    left: RESERVED,
    end: NOTHING,
  },
  {
    title: "while beginning, after the entry",
    stage: "begin",
    at: 6,
    left: RESERVED,
    end: NOTHING,
  },
  { title: "after the order was signed", stage: "begun", at: 0, left: EXECUTING, end: COMMITTED },
  { title: "while settling", stage: "settle", at: 1, left: EXECUTING, end: COMMITTED },
  { title: "after settling", stage: "settle", at: 99, left: COMMITTED, end: COMMITTED },
])("[PB-4] killed $title: the ledger and its log are whole", async ({ stage, at, left, end }) => {
  const fixture = await crashed(stage, at);
  expect(await marketing(fixture)).toEqual(left);
  await abort(fixture);
  expect(await marketing(fixture)).toEqual(end);
  const reopened = await fixture.reopen();
  expect(await marketing({ ...fixture, vault: reopened })).toEqual(end);
});

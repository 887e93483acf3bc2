import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import path from "node:path";

import { afterEach, expect, test } from "vitest";
import { z } from "zod";

import { fromHex } from "../../../protocol/index.ts";
import { RACE_ADMITTED, RACE_COST_MICRO, raceBudget } from "./race-world.ts";
import { newFixture, newFolder } from "./vault-fixture.ts";

const ROOT = path.resolve(import.meta.dirname, "../../..");
const CLIENTS = 4;
const REQUESTS_EACH = 60;
const RACE_MS_MAX = 120_000;

const listening = z.strictObject({ port: z.int() });
const ready = z.strictObject({ ready: z.literal(true) });
const answer = z.strictObject({ request: z.string(), decision: z.string(), reserved: z.boolean() });
type Answer = z.infer<typeof answer>;

const children: ChildProcess[] = [];
afterEach(async () => {
  await Promise.all(
    children.splice(0).map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
    }),
  );
});

function start(script: string, ...args: string[]): ChildProcess {
  const child = fork(path.join(import.meta.dirname, script), args, { cwd: ROOT, execArgv: [] });
  children.push(child);
  return child;
}

async function messageOf<T>(child: ChildProcess, schema: z.ZodType<T>): Promise<T> {
  const [message] = await once(child, "message");
  return schema.parse(message);
}

async function startVault(directory: string, state: "new" | "old") {
  const child = start("race-vault.ts", directory, state);
  return { child, ...(await messageOf(child, listening)) };
}

async function killed(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

/**
 * Lets every client race for the budget and gives all answers; after each number of answers in `kills` the Vault's
 * process is killed with -9 and started again.
 */
async function race(directory: string, kills: readonly number[]): Promise<Answer[]> {
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    start("race-client.ts", `client-${index}`, String(REQUESTS_EACH)),
  );
  const prepared = Promise.all(clients.map((client) => messageOf(client, ready)));
  let vault = await startVault(directory, "new");
  await prepared;
  const answers: Answer[] = [];
  const milestones = kills.map((count) => ({ count, reached: Promise.withResolvers<void>() }));
  const ended = clients.map((client) => {
    client.on("message", (message) => {
      const parsed = answer.safeParse(message);
      if (parsed.success) answers.push(parsed.data);
      for (const { count, reached } of milestones) if (answers.length >= count) reached.resolve();
    });
    return once(client, "exit");
  });
  for (const client of clients) client.send({ port: vault.port });
  for (const { reached } of milestones) {
    await reached.promise;
    await killed(vault.child);
    vault = await startVault(directory, "old");
    for (const client of clients) client.send({ port: vault.port });
  }
  await Promise.all(ended);
  await killed(vault.child);
  return answers;
}

test.for([
  { title: "and nothing fails", kills: [] },
  { title: "while the Vault is killed among the admissions and after them", kills: [15, 60] },
])(
  "[PB-2] 240 tasks of four processes race for one budget $title: exactly as many are admitted as it has room for",
  { timeout: RACE_MS_MAX },
  async ({ kills }) => {
    const directory = path.join(newFolder(), "vault");
    const answers = await race(directory, kills);
    expect(answers).toHaveLength(CLIENTS * REQUESTS_EACH);
    expect(answers.filter(({ reserved }) => reserved)).toHaveLength(RACE_ADMITTED);
    const { vault, governance } = await newFixture({ directory, policy: raceBudget });
    const { budgets, reservations } = await vault.status();
    expect(reservations).toMatchObject({ reserved: RACE_ADMITTED, executing: 0 });
    expect(budgets.find(({ usageScope }) => usageScope === "marketing")).toMatchObject({
      consumedMaxMicro: 0,
      reservedMaxMicro: RACE_ADMITTED * RACE_COST_MICRO,
    });
    for (const { request, decision } of answers) {
      expect(await vault.decide(fromHex(request), governance)).toEqual(fromHex(decision));
    }
  },
);

import { link, open, rm } from "node:fs/promises";

import { UsageError } from "#cli";
import { UnavailableError } from "#protocol";
import { z } from "zod";

import type { VaultCall, VaultCommand } from "./command.ts";
import { finished } from "./job.ts";

const replayAnswer = z.object({ task_id: z.string(), replay: z.string() });

/** Keys, erasure, and what a subject may ask for. */
export const CUSTODY_COMMANDS: readonly VaultCommand[] = [
  {
    name: "keys rotate",
    summary: "put every key under a new master key, or seal every batch anew",
    help: `Makes a new master key, wraps the key of every batch under it, and destroys the old one. With a key service, name
the new key in the configuration first. With --reencrypt the batches themselves are sealed anew under new data keys.
Interrupted, the same command goes on. Tasks run meanwhile.`,
    options: { reencrypt: { value: null, summary: "seal every batch anew instead" } },
    run: async (call) => {
      const body = { reencrypt: call.flag("reencrypt") };
      const report = await finished(call, "/v1/vault/keys/rotate", { body, unit: "batches" });
      return call.show(report, JSON.stringify(report, null, 2));
    },
  },
  {
    name: "subject erase",
    summary: "erase all records of a subject",
    help: `Withdraws every consent of the subject and destroys its records and their keys; their commitments stay, and so does
what is spent of the subject's budget. Interrupted, it goes on by itself. It cannot be undone.`,
    words: ["SUBJECT"],
    options: { confirm: { value: null, summary: "that this is meant" } },
    run: async (call) => {
      if (!call.flag("confirm")) throw new UsageError("--confirm: expected it, to erase for good");
      const [subject] = call.words;
      const report = await finished(call, "/v1/vault/subjects/erase", {
        body: { subject },
        unit: "batches",
      });
      return call.show(report, JSON.stringify(report, null, 2));
    },
  },
  {
    name: "subject export",
    summary: "write all that the Vault holds of a subject",
    help: `Writes the subject's records, consents, budgets and tasks into a new file that only its owner can read, one JSON
object a line. The Vault logs that it was done, without values.`,
    words: ["SUBJECT"],
    options: { out: { value: "FILE", summary: "a new file", required: true } },
    run: exportToFile,
  },
  {
    name: "replayable",
    summary: "whether a task's inputs are still there",
    help: "Says whether a task can be executed again from its sealed inputs, or that some of them were erased.",
    words: ["TASK"],
    options: {},
    run: async (call) => {
      const [task = ""] = call.words;
      const client = await call.client();
      const answer = replayAnswer.parse(await client.get("/v1/vault/replayable", { task }));
      return call.show(answer, `${answer.task_id}: ${answer.replay}`);
    },
  },
];

/** The file appears whole, under its own name, or not at all. */
async function exportToFile(call: VaultCall): Promise<number> {
  const [subject] = call.words;
  const out = call.required("out");
  const client = await call.client();
  const partial = `${out}.partial`;
  const file = await open(partial, "wx", 0o600).catch((cause: unknown) => {
    throw existing(partial, cause);
  });
  try {
    let last = "";
    for await (const text of client.lines("/v1/vault/subjects/export", { subject })) {
      await file.write(text);
      last = `${last}${text}`.slice(-256);
    }
    if (!/\n\{"type":"end",[^\n]*\}\n$/.test(`\n${last}`)) throw cutOff();
    await file.sync();
    // A link refuses to replace what a rename would.
    await link(partial, out).catch((cause: unknown) => {
      throw existing(out, cause);
    });
  } finally {
    await file.close();
    await rm(partial, { force: true });
  }
  return call.show({ file: out }, `written to ${out}`);
}

function existing(file: string, cause: unknown): unknown {
  const exists = cause instanceof Error && "code" in cause && cause.code === "EEXIST";
  return exists ? new UsageError(`${file}: expected no file there yet`) : cause;
}

function cutOff(): UnavailableError {
  return new UnavailableError(
    { code: "COORDINATION_UNAVAILABLE" },
    "export: expected all of it, got an answer that ends early",
  );
}

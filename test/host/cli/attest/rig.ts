import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import type { AppraisalPolicy } from "../../../../attestation/index.ts";
import { runAttestExplain } from "../../../../host/cli/attest/explain.ts";
import { runAttestVerify } from "../../../../host/cli/attest/verify.ts";
import { runAttest } from "../../../../host/cli/attest/command.ts";
import { reportError } from "../../../../cli/index.ts";
import { hex } from "../../../../protocol/index.ts";
import { CHAIN, NOW, forgeDocument, policyOf } from "../../../attestation/forge.ts";

/** A folder of files for the commands under test: a good document, a policy for it, its root. */
export interface AttestFolder {
  readonly path: string;
  readonly document: string;
  readonly policy: string;
  readonly root: string;
  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array): string;
  /** Writes a policy that differs from the good one. */
  writePolicy(name: string, changes: Partial<AppraisalPolicy>): string;
  remove(): void;
}

export function createAttestFolder(): AttestFolder {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-attest-"));
  const write = (name: string, content: string | Uint8Array): string => {
    const file = path.join(folder, name);
    fs.writeFileSync(file, content);
    return file;
  };
  const writePolicy = (name: string, changes: Partial<AppraisalPolicy>): string =>
    write(name, policyText(policyOf(changes)));
  return {
    path: folder,
    document: write("good.cose", forgeDocument()),
    policy: writePolicy("policy.json", {}),
    root: write("root.der", CHAIN[0] ?? ""),
    write,
    writePolicy,
    remove: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

/** A policy as its file has it. */
export function policyText(policy: AppraisalPolicy): string {
  const { judgedAtMs: _, ...file } = policy;
  const json = (_key: string, value: unknown): unknown =>
    value instanceof Uint8Array ? hex(value) : value;
  return JSON.stringify(file, json, 2);
}

/** What a command came to. */
export interface Ran {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `attest` with `words` as `host/main.ts` would, at a time given. */
export async function attest(words: readonly string[], nowMs: number = NOW): Promise<Ran> {
  const written = { stdout: "", stderr: "" };
  const io = {
    stdout: (text: string): void => void (written.stdout += text),
    stderr: (text: string): void => void (written.stderr += text),
  };
  const [name, ...rest] = words;
  const run = async (): Promise<number> => {
    if (name === "verify") return runAttestVerify(rest, io, nowMs);
    if (name === "explain") return runAttestExplain(rest, io, nowMs);
    return runAttest(words, io);
  };
  try {
    return { exit: await run(), ...written };
  } catch (error) {
    const exit = reportError(error, io, words.includes("--json"));
    return { exit, ...written };
  }
}

/** Where genuine evidence is, and whether it is there. */
export const VECTORS = path.join(
  process.env["SYMPHONY_SHARED"] ?? path.join(import.meta.dirname, "../../../../../shared"),
  "vectors",
);
export const vectorsAbsent = !fs.existsSync(path.join(VECTORS, "nitro", "index.json"));

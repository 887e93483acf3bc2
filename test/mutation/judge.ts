import { readFileSync } from "node:fs";
import { registerHooks, stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

import { z } from "zod";

import {
  claimsOf,
  evaluateBase,
  evaluateVector,
  isAvailable,
  type Outcome,
  type Subject,
} from "../vectors/attestation/evaluate.ts";
import { loadBases, loadChecks, loadClaims, loadVectors } from "../vectors/attestation/load.ts";
import type { Base, Vector } from "../vectors/attestation/schema.ts";

/** A child process: evaluates the vectors against mutated source, which never touches the disk. */

const jobSchema = z.strictObject({
  /** Grows with each job: modules are loaded anew under it. */
  id: z.int(),
  /** Path below the root, and its mutated source; null for the source as it stands. */
  file: z.string().nullable(),
  source: z.string(),
  /** Null: all vectors and bases, up to the first that comes out otherwise than it should. */
  numbers: z.array(z.string()).nullable(),
});
/** See {@link jobSchema}. */
export type Job = z.infer<typeof jobSchema>;

/** What came of a job: the outcomes asked for, or the first that differs, or why nothing could be loaded. */
export type Verdict =
  | { readonly id: number; readonly outcomes: Readonly<Record<string, Outcome>> }
  | { readonly id: number; readonly differs: string | null }
  | { readonly id: number; readonly broken: string };

const ROOT = process.argv[2] ?? "";
const FRESH = ["attestation/", "enclave/adapters/ber.ts", "enclave/adapters/cms.ts"].map(
  (path) => pathToFileURL(join(ROOT, path)).href,
);
const ABOUT_CHAINS = /\/(path|certificate|chain-cache|der|der-time|anchor|profile|public-key)\.ts$/;
const vectors = loadVectors();
const bases = loadBases();
const checks = loadChecks();
const claims = loadClaims();
let current: Job | null = null;

const stripped = new Map<string, string>();
const strip = (source: string): string => stripTypeScriptTypes(source, { mode: "strip" });

/** Without types, which takes longer than all the rest of loading a file. */
function strippedOnce(file: string): string {
  const known = stripped.get(file) ?? strip(readFileSync(file, "utf8"));
  stripped.set(file, known);
  return known;
}

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const tag = /\?job=\d+$/.exec(context.parentURL ?? "")?.[0];
    if (tag === undefined || !FRESH.some((prefix) => resolved.url.startsWith(prefix))) {
      return resolved;
    }
    return { ...resolved, url: `${resolved.url}${tag}` };
  },
  load(url, context, next) {
    if (!/\?job=\d+$/.test(url)) return next(url, context);
    const isMutated = current?.file != null && url === urlOf(current.file, current);
    const source = isMutated ? strip(current?.source ?? "") : strippedOnce(fileURLToPath(url));
    return { format: "module", source, shortCircuit: true };
  },
});

process.on("message", (message) => {
  const job = jobSchema.parse(message);
  current = job;
  void judge(job).then((verdict) => process.send?.(verdict));
});

async function judge(job: Job): Promise<Verdict> {
  const { id } = job;
  try {
    const subject: Subject = {
      attestation: await import(urlOf("attestation/index.ts", job)),
      openCms: (await import(urlOf("enclave/adapters/cms.ts", job))).openCiphertextForRecipient,
    };
    if (job.numbers === null) return { id, differs: firstDifference(subject, job.file) };
    return { id, outcomes: outcomesOf(job.numbers, subject) };
  } catch (error) {
    return { id, broken: String(error) };
  }
}

function urlOf(path: string, { id }: Job): string {
  return `${pathToFileURL(join(ROOT, path)).href}?job=${id}`;
}

function outcomesOf(numbers: readonly string[], subject: Subject): Record<string, Outcome> {
  const asked = vectors.filter(({ number }) => numbers.includes(number));
  return Object.fromEntries(
    asked.map((vector) => [
      vector.number,
      evaluateVector(vector, baseOf(vector.base), { subject }),
    ]),
  );
}

/** Vectors whose check is in `file` first; none that `file` cannot concern. */
function firstDifference(subject: Subject, file: string | null): string | null {
  // Chains need not be verified again for each vector when no code that verifies them was changed.
  const chainCache = ABOUT_CHAINS.test(file ?? "")
    ? null
    : subject.attestation.createChainCache({ entriesMax: 1024 });
  for (const [name, base] of bases) {
    if (!isAvailable(base) || !concerns(file, base)) continue;
    if (!("accepted" in evaluateBase(base, { subject }))) return `base ${name}`;
    const said = JSON.stringify(claims[name]);
    if (said !== undefined && JSON.stringify(claimsOf(base, subject)) !== said)
      return `says ${name}`;
  }
  const isNear = ({ check }: Vector): boolean => checks.get(check ?? "")?.file === file;
  const near = vectors.filter(isNear);
  for (const vector of [...near, ...vectors.filter((each) => !isNear(each))]) {
    const base = baseOf(vector.base);
    if (!isAvailable(base, vector) || !concerns(file, base)) continue;
    const outcome = evaluateVector(vector, base, { subject, chainCache });
    if ("accepted" in outcome) return vector.number;
    if (outcome.stage !== vector.stage || outcome.code !== vector.code) return vector.number;
  }
  return null;
}

/** Whether evidence of this format is judged by code in `file`: a format's folder is for it alone. */
function concerns(file: string | null, { format }: Base): boolean {
  if (file === null) return true;
  if (!file.startsWith("attestation/")) return format === "cms";
  const folder = /^attestation\/(nitro|snp|tdx)\//.exec(file)?.[1];
  return folder === undefined ? format !== "cms" : folder === format;
}

function baseOf(name: string) {
  const base = bases.get(name);
  if (base === undefined) throw new Error(`base: expected ${name} in bases/, got none`);
  return base;
}

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

import { z } from "zod";

import { fromHex } from "../../../protocol/index.ts";
import {
  CATEGORIES,
  baseSchema,
  checkSchema,
  vectorSchema,
  type Base,
  type Check,
  type Vector,
} from "./schema.ts";

const FOLDER = import.meta.dirname;
/** Where {@link loadClaims} reads. */
export const CLAIMS_FILE = join(FOLDER, "claims.json");
const ROOT = join(FOLDER, "../../..");
const SHARED = join(process.env["SYMPHONY_SHARED"] ?? join(ROOT, "../shared"), "vectors");
const PEM = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g;

/** All vectors, in the order of their categories. A category without a file has none. */
export function loadVectors(): readonly Vector[] {
  return CATEGORIES.flatMap((name) =>
    parseJson(join(FOLDER, `${name}.json`), z.array(vectorSchema), []),
  );
}

/**
 * All checks by name.
 *
 * @throws Error when two categories use one name.
 */
export function loadChecks(): ReadonlyMap<string, Check> {
  const checks = new Map<string, Check>();
  for (const category of CATEGORIES) {
    const file = join(FOLDER, "checks", `${category}.json`);
    for (const [name, check] of Object.entries(
      parseJson(file, z.record(z.string(), checkSchema), {}),
    )) {
      if (checks.has(name)) throw new Error(`${file}: expected another name than ${name}`);
      checks.set(name, check);
    }
  }
  return checks;
}

/** All bases by name. */
export function loadBases(): ReadonlyMap<string, Base> {
  const names = readdirSync(join(FOLDER, "bases")).filter((name) => name.endsWith(".json"));
  return new Map(
    names
      .sort()
      .map((name) => [
        name.slice(0, -".json".length),
        baseSchema.parse(JSON.parse(readFileSync(join(FOLDER, "bases", name), "utf8"))),
      ]),
  );
}

/** What each base says, by its name, as `npm run vectors -- --write-claims` wrote it. */
export function loadClaims(): Readonly<Record<string, unknown>> {
  return parseJson(CLAIMS_FILE, z.record(z.string(), z.json()), {});
}

/** Whether all of `references` can be read: those that begin with `shared:` may be absent. */
export function isPresent(references: readonly string[]): boolean {
  return references.every(
    (reference) => !reference.startsWith("shared:") || existsSync(locate(reference).file),
  );
}

/**
 * Bytes of a reference:
 *
 *     hex:00ff         these bytes
 *     name.bin         a file in bases/
 *     tree:path        a file of the repository
 *     shared:path      a file below vectors/ of the folder SYMPHONY_SHARED
 *
 * After a file, `#field` is a text field of its JSON and `@n` its certificate number n in PEM. Files named `.hex`
 * or `.txt` and fields of hex digits are hex; a `.pem` with one certificate is its DER.
 */
export function readReference(reference: string): Uint8Array {
  if (reference.startsWith("hex:")) return fromHex(reference.slice("hex:".length));
  const { file, field, position } = locate(reference);
  if (field === undefined && position === undefined && !/\.(hex|txt|pem)$/.test(file)) {
    return new Uint8Array(readFileSync(file));
  }
  const text = readFileSync(file, "utf8");
  const value =
    field === undefined ? text : z.record(z.string(), z.json()).parse(JSON.parse(text))[field];
  const content = z.string().parse(value);
  const certificates = [...content.matchAll(PEM)].map(([, base64 = ""]) => base64);
  const base64 = certificates[position ?? (certificates.length === 1 ? 0 : -1)];
  if (base64 !== undefined) return new Uint8Array(Buffer.from(base64, "base64"));
  if (position !== undefined) throw new Error(`${reference}: expected a certificate, got none`);
  const isHex = /^([0-9a-f]{2})+$/i.test(content.trim());
  return isHex ? fromHex(content.trim().toLowerCase()) : new TextEncoder().encode(content);
}

interface Location {
  readonly file: string;
  readonly field: string | undefined;
  readonly position: number | undefined;
}

function locate(reference: string): Location {
  const match = /^(shared:|tree:)?([^#@]+)(?:#([^@]+))?(?:@(\d+))?$/.exec(reference);
  if (match === null) throw new Error(`reference: expected a file, got ${reference}`);
  const [, scheme, path = "", field, position] = match;
  const folder = { "shared:": SHARED, "tree:": ROOT }[scheme ?? ""] ?? join(FOLDER, "bases");
  return {
    file: join(folder, path),
    field,
    position: position === undefined ? undefined : Number(position),
  };
}

function parseJson<T>(file: string, schema: z.ZodType<T>, absent: T): T {
  if (!existsSync(file)) return absent;
  const parsed = schema.safeParse(JSON.parse(readFileSync(file, "utf8")));
  if (!parsed.success) throw new Error(`${file}: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

import type { Random } from "./random.ts";

/** A JSON value. */
export type Json =
  null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

const NUMBERS = [
  0,
  -1,
  1,
  0.5,
  255,
  256,
  65_535,
  65_536,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  1e300,
] as const;
const NAMES = ["__proto__", "constructor", "toString", "", "id", "version", "Statement"] as const;

/** Any value at most `depth` deep. */
export function anyJson(random: Random, depth: number): Json {
  switch (random.below(depth > 0 ? 8 : 5)) {
    case 0:
      return null;
    case 1:
      return random.once(2);
    case 2:
      return random.pick(NUMBERS);
    case 3:
      return anyText(random);
    case 4:
      return random.below(100);
    case 5:
    case 6:
      return Array.from({ length: random.below(5) }, () => anyJson(random, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: random.below(5) }, () => [
          random.pick(NAMES),
          anyJson(random, depth - 1),
        ]),
      );
  }
}

function anyText(random: Random): string {
  switch (random.below(6)) {
    case 0:
      return "";
    case 1:
      return Buffer.from(random.bytes(random.length(256))).toString("latin1");
    case 2:
      return Buffer.from(random.bytes(random.length(512))).toString("base64");
    case 3:
      return Buffer.from(random.bytes(random.length(64))).toString("hex");
    case 4:
      return random.pick([
        "*",
        "é",
        "\ud800",
        "0",
        "null",
        "2025-02-30T00:00:00Z",
        "UpToDate",
        "kms:*",
      ]);
    default:
      return random.pick(NAMES);
  }
}

/** `value` with one thing somewhere replaced, removed, added, repeated or renamed; or nothing. */
export function changeJson(random: Random, value: Json): Json {
  if (random.once(12)) return anyJson(random, 2);
  if (isList(value)) return changeArray(random, value);
  if (typeof value === "object" && value !== null) return changeObject(random, { ...value });
  if (typeof value === "string" && random.once(2)) return changeText(random, value);
  if (typeof value === "number" && random.once(2)) return random.pick(NUMBERS);
  return random.once(3) ? anyJson(random, 1) : value;
}

/** `Array.isArray`, which does not know read-only arrays. */
function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function changeArray(random: Random, items: readonly Json[]): Json {
  const at = random.below(items.length);
  const chosen = items[at];
  if (chosen === undefined || random.once(8)) return [...items, anyJson(random, 2)];
  switch (random.below(8)) {
    case 0:
      return items.toSpliced(at, 1);
    case 1:
      return Array.from({ length: random.length(300) }, () => chosen);
    default:
      return items.with(at, changeJson(random, chosen));
  }
}

function changeObject(random: Random, members: Record<string, Json>): Json {
  const entries = Object.entries(members);
  const at = random.below(entries.length);
  const chosen = entries[at];
  if (chosen === undefined) return { [random.pick(NAMES)]: anyJson(random, 1) };
  const [name, value] = chosen;
  switch (random.below(12)) {
    case 0:
      return Object.fromEntries(entries.toSpliced(at, 1));
    case 1:
      return Object.fromEntries([...entries, [random.pick(NAMES), anyJson(random, 2)]]);
    case 2:
      return Object.fromEntries(entries.with(at, [name.toUpperCase(), value]));
    default:
      return Object.fromEntries(entries.with(at, [name, changeJson(random, value)]));
  }
}

function changeText(random: Random, text: string): string {
  const at = random.below(text.length + 1);
  switch (random.below(5)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return text + text;
    case 2:
      return text.toUpperCase();
    case 3:
      return text.slice(0, at) + anyText(random) + text.slice(at);
    default:
      return (
        text.slice(0, at) +
        String.fromCharCode(random.below(random.once(4) ? 65_536 : 128)) +
        text.slice(at + 1)
      );
  }
}

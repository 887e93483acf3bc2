// Every way in which one well-formed value is damaged, generated from the value itself.
import { CBOR_DEPTH_MAX, type CborValue } from "../../../../protocol/cbor.ts";
import { encodeCbor } from "../../../../protocol/index.ts";

/** A value with one thing wrong. */
export interface Forgery<T> {
  /** Where and how. */
  readonly title: string;
  readonly value: T;
}

/** Letters that look like others: Cyrillic a, e, o, p, c, i. */
const CONFUSABLES: Readonly<Record<string, string>> = {
  ...{ a: "\u0430", e: "\u0435", o: "\u043e", p: "\u0440", c: "\u0441", i: "\u0456" },
};

/** Every forgery of `value` and of everything in it. Titles are paths. */
export function* forgeriesOf(value: CborValue, at = ""): Generator<Forgery<CborValue>> {
  for (const { title, value: other } of ownForgeries(value)) {
    yield { title: `${at} ${title}`.trim(), value: other };
  }
  if (value instanceof Uint8Array || value === null || typeof value !== "object") return;
  if (isList(value)) {
    for (const [index, item] of value.entries()) {
      for (const { title, value: other } of forgeriesOf(item, `${at}[${index}]`)) {
        yield { title, value: value.with(index, other) };
      }
    }
    return;
  }
  for (const [key, item] of Object.entries(value)) {
    for (const { title, value: other } of forgeriesOf(item, at === "" ? key : `${at}.${key}`)) {
      yield { title, value: { ...value, [key]: other } };
    }
  }
}

type CborMap = { readonly [key: string]: CborValue };

function isList(value: CborValue): value is readonly CborValue[] {
  return Array.isArray(value);
}

function ownForgeries(value: CborValue): readonly Forgery<CborValue>[] {
  switch (typeof value) {
    case "string":
      return textForgeries(value);
    case "boolean":
      return [{ title: "negated", value: !value }];
    case "number":
    case "bigint":
      return numberForgeries(Number(value));
    default:
      if (value === null) return [{ title: "given", value: Uint8Array.of(1) }];
      if (value instanceof Uint8Array) return bytesForgeries(value);
      return isList(value) ? listForgeries(value) : mapForgeries(value);
  }
}

function numberForgeries(value: number): readonly Forgery<CborValue>[] {
  return [
    { title: "one more", value: value + 1 },
    { title: "negative", value: -1 },
    { title: "as large as can be", value: Number.MAX_SAFE_INTEGER },
    { title: "beyond safe", value: 2n ** 63n },
    { title: "as text", value: String(value) },
  ];
}

function textForgeries(value: string): readonly Forgery<CborValue>[] {
  const seen = value.search(/[aeopci]/);
  const letter = value[seen] ?? "";
  const alike = value.slice(0, seen) + (CONFUSABLES[letter] ?? "") + value.slice(seen + 1);
  return [
    { title: "empty", value: "" },
    ...(seen < 0 ? [] : [{ title: "in another script", value: alike }]),
    { title: "with nothing visible in it", value: `${value}\u200b` },
    { title: "full-width", value: value.replace(/[!-~]/, (char) => wide(char)) },
    { title: "in capitals", value: value === value.toUpperCase() ? "x" : value.toUpperCase() },
    { title: "very long", value: value.padEnd(100_000, "x") },
    { title: "as bytes", value: new Uint8Array(Buffer.from(value)) },
  ];
}

function wide(char: string): string {
  return String.fromCodePoint((char.codePointAt(0) ?? 0) + 0xfee0);
}

/** Bytes that were altered, cut or grown; and bytes that are a bomb for whoever reads them. */
export function bytesForgeries(value: Uint8Array): readonly Forgery<Uint8Array>[] {
  const flipped = (at: number) => value.with(at, (value[at] ?? 0) ^ 1);
  const places = [...new Set([0, value.length >> 1, value.length - 1])].filter((at) => at >= 0);
  return [
    ...(value.length === 0 ? [] : places).map((at) => ({
      title: `bit at ${at}`,
      value: flipped(at),
    })),
    ...(value.length === 0 ? [] : [{ title: "empty", value: new Uint8Array(0) }]),
    ...(value.length < 2 ? [] : [{ title: "half", value: value.slice(0, value.length >> 1) }]),
    { title: "one byte more", value: new Uint8Array([...value, 0]) },
    { title: "deeply nested", value: new Uint8Array(10 * CBOR_DEPTH_MAX).fill(0x81) },
    { title: "a list without end", value: Uint8Array.of(0x9b, 255, 255, 255, 255, 255, 255, 255) },
  ];
}

function listForgeries(value: readonly CborValue[]): readonly Forgery<CborValue>[] {
  const [first] = value;
  if (first === undefined) return [{ title: "with something in it", value: [0] }];
  return [
    { title: "emptied", value: [] },
    { title: "its first twice", value: [first, ...value] },
    { title: "without its last", value: value.slice(0, -1) },
    ...(value.length > 1 ? [{ title: "in another order", value: value.toReversed() }] : []),
  ];
}

function mapForgeries(value: CborMap): readonly Forgery<CborValue>[] {
  const fields = Object.entries(value);
  return [
    { title: "with an unknown field", value: { ...value, unknown_field: 0 } },
    ...fields.map(([key]) => ({
      title: `without ${key}`,
      value: Object.fromEntries(fields.filter(([name]) => name !== key)),
    })),
  ];
}

/** Forgeries of a value, as canonical bytes. */
export function encodedForgeries(genuine: CborValue): readonly Forgery<Uint8Array>[] {
  return [...forgeriesOf(genuine)].flatMap(({ title, value }) => {
    const encoded = encodedOrNone(value);
    return encoded === undefined ? [] : [{ title, value: encoded }];
  });
}

/** Some forgeries have no canonical bytes at all. */
function encodedOrNone(value: CborValue): Uint8Array | undefined {
  try {
    return encodeCbor(value);
  } catch {
    return undefined;
  }
}

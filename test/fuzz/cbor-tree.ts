import { compareBytes, concat, utf8 } from "../../protocol/index.ts";
import { edgeInteger } from "./mutate.ts";
import { Random } from "./random.ts";

/** A CBOR item to write, right or wrong (RFC 8949 § 3). Maps hold keys and values in turn. */
export type CborTree =
  | { readonly kind: "integer"; readonly major: 0 | 1; readonly value: bigint }
  | { readonly kind: "string"; readonly major: 2 | 3; readonly bytes: Uint8Array }
  | {
      readonly kind: "list";
      readonly major: 4 | 5;
      readonly items: readonly CborTree[];
      readonly form: "definite" | "indefinite" | "one more" | "one less" | "endless";
    }
  | { readonly kind: "tag"; readonly tag: bigint; readonly item: CborTree }
  | { readonly kind: "raw"; readonly bytes: Uint8Array };

/** Writes `tree`; one head in `longHeads` is longer than needed (0: none). */
export function writeCbor(tree: CborTree, random: Random, longHeads = 0): Uint8Array {
  const parts: Uint8Array[] = [];
  write(tree, { parts, random, longHeads });
  return concat(...parts);
}

interface Writer {
  readonly parts: Uint8Array[];
  readonly random: Random;
  readonly longHeads: number;
}

function write(tree: CborTree, writer: Writer): void {
  switch (tree.kind) {
    case "integer":
      head(writer, tree.major, tree.value);
      return;
    case "string":
      head(writer, tree.major, BigInt(tree.bytes.length));
      writer.parts.push(tree.bytes);
      return;
    case "list":
      writeList(tree, writer);
      return;
    case "tag":
      head(writer, 6, tree.tag);
      write(tree.item, writer);
      return;
    case "raw":
      writer.parts.push(tree.bytes);
  }
}

function writeList(tree: CborTree & { kind: "list" }, writer: Writer): void {
  const { major, items, form } = tree;
  const count = major === 4 ? items.length : Math.ceil(items.length / 2);
  const extra = { "one more": 1, "one less": -1, definite: 0 } as const;
  if (form === "indefinite" || form === "endless")
    writer.parts.push(Uint8Array.of((major << 5) | 31));
  else head(writer, major, BigInt(Math.max(0, count + extra[form])));
  for (const item of items) write(item, writer);
  if (form === "indefinite") writer.parts.push(Uint8Array.of(0xff));
}

function head({ parts, random, longHeads }: Writer, major: number, argument: bigint): void {
  let size =
    argument < 24n ? 0 : argument < 256n ? 1 : argument < 65536n ? 2 : argument < 2n ** 32n ? 4 : 8;
  if (longHeads > 0 && random.once(longHeads)) size = size === 0 ? 1 : Math.min(8, size * 2);
  if (size === 0) {
    parts.push(Uint8Array.of((major << 5) | Number(argument)));
    return;
  }
  const bytes = new Uint8Array(1 + size);
  bytes[0] = (major << 5) | (23 + Math.log2(size) + 1);
  let rest = argument;
  for (let at = size; at > 0; at--) {
    bytes[at] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  parts.push(bytes);
}

/** `tree` with definite lengths and sorted keys (RFC 8949 § 4.2.1); what else is wrong with it stays. */
export function canonical(tree: CborTree): CborTree {
  if (tree.kind === "tag") return { ...tree, item: canonical(tree.item) };
  if (tree.kind !== "list") return tree;
  const items = tree.items.map(canonical);
  return { ...tree, form: "definite", items: tree.major === 5 ? sortedPairs(items) : items };
}

function sortedPairs(items: readonly CborTree[]): readonly CborTree[] {
  const random = new Random(0, "", 0);
  const pairs = items.flatMap((key, at) => {
    const value = items[at + 1];
    return at % 2 === 1 || value === undefined
      ? []
      : [{ key, value, bytes: writeCbor(key, random) }];
  });
  return pairs
    .toSorted((left, right) => compareBytes(left.bytes, right.bytes))
    .flatMap(({ key, value }) => [key, value]);
}

const trees = new WeakMap<Uint8Array, CborTree>();

/** Reads well-formed bytes of our own making, which do not change, so that they can be changed as a tree. */
export function readCbor(bytes: Uint8Array): CborTree {
  const known = trees.get(bytes);
  if (known !== undefined) return known;
  const { tree } = readItem(bytes, 0);
  trees.set(bytes, tree);
  return tree;
}

interface Item {
  readonly tree: CborTree;
  readonly next: number;
}

function readItem(bytes: Uint8Array, start: number): Item {
  const first = bytes[start] ?? 0;
  const major = first >> 5;
  const info = first & 31;
  const size = info < 24 || info > 27 ? 0 : 1 << (info - 24);
  let value = size === 0 ? BigInt(info) : 0n;
  for (let at = 0; at < size; at++) value = value * 256n + BigInt(bytes[start + 1 + at] ?? 0);
  const next = start + 1 + size;
  const count = Number(value);
  switch (major) {
    case 0:
    case 1:
      return { tree: { kind: "integer", major, value }, next };
    case 2:
    case 3:
      return {
        tree: { kind: "string", major, bytes: bytes.subarray(next, next + count) },
        next: next + count,
      };
    case 4:
    case 5:
      return readList(bytes, { next, major, count: info === 31 ? Infinity : count * (major - 3) });
    case 6: {
      const inner = readItem(bytes, next);
      return { tree: { kind: "tag", tag: value, item: inner.tree }, next: inner.next };
    }
    default:
      return { tree: { kind: "raw", bytes: bytes.subarray(start, next) }, next };
  }
}

function readList(
  bytes: Uint8Array,
  { next, major, count }: { next: number; major: 4 | 5; count: number },
): Item {
  const items: CborTree[] = [];
  let at = next;
  while (items.length < count && at < bytes.length && bytes[at] !== 0xff) {
    const item = readItem(bytes, at);
    items.push(item.tree);
    at = item.next;
  }
  const form = count === Infinity ? "indefinite" : "definite";
  return { tree: { kind: "list", major, items, form }, next: count === Infinity ? at + 1 : at };
}

const SIMPLE = [0xf4, 0xf5, 0xf6, 0xf6, 0xf7, 0xe0, 0xf9, 0xff] as const;

/** How many more items a tree may have: some beyond what parsers take. */
interface Budget {
  items: number;
}

/** Any item at most `depth` deep, mostly of what hardware writes. */
export function anyCbor(random: Random, depth: number, budget: Budget = { items: 1200 }): CborTree {
  budget.items -= 1;
  switch (random.below(depth > 0 && budget.items > 0 ? 10 : 5)) {
    case 0:
      return { kind: "integer", major: random.once(4) ? 1 : 0, value: edgeInteger(random) };
    case 1:
      return { kind: "integer", major: 0, value: BigInt(random.below(32)) };
    case 2:
      return text(random.pick(["nonce", "digest", "\u00e9", "e\u0301", "", "pcrs", "0"]));
    case 3:
      return anyString(random);
    case 4:
      return { kind: "raw", bytes: Uint8Array.of(random.pick(random.once(6) ? SIMPLE : [0xf6])) };
    case 5:
    case 6:
      return anyList(random, { major: 4, depth, budget });
    case 9:
      if (random.once(8))
        return { kind: "tag", tag: edgeInteger(random), item: anyCbor(random, 0) };
      return anyList(random, { major: 5, depth, budget });
    default:
      return anyList(random, { major: 5, depth, budget });
  }
}

function anyString(random: Random): CborTree {
  const bytes = random.bytes(random.length(128));
  return { kind: "string", major: random.once(24) ? 3 : 2, bytes };
}

function anyList(
  random: Random,
  { major, depth, budget }: { major: 4 | 5; depth: number; budget: Budget },
): CborTree {
  const count = random.once(48) ? random.length(1100) : random.below(6);
  const items: CborTree[] = [];
  for (let at = 0; at < count && budget.items > 0; at++) {
    if (major === 5) {
      const isPlain = !random.once(16);
      items.push(isPlain ? { kind: "integer", major: 0, value: BigInt(at) } : anyCbor(random, 0));
    }
    items.push(anyCbor(random, depth - 1, budget));
  }
  return { kind: "list", major, items, form: anyForm(random) };
}

/** How a list says its length: mostly the truth. */
export function anyForm(
  random: Random,
): "definite" | "indefinite" | "one more" | "one less" | "endless" {
  if (random.once(24)) return random.pick(["one more", "one less", "endless"]);
  return random.once(2) ? "definite" : "indefinite";
}

export function text(words: string): CborTree {
  return { kind: "string", major: 3, bytes: utf8(words) };
}

/** `tree` with one item somewhere replaced, removed, repeated, moved, wrapped or tagged. */
export function changeCbor(random: Random, tree: CborTree): CborTree {
  if (tree.kind === "tag" && !random.once(4)) {
    return { ...tree, item: changeCbor(random, tree.item) };
  }
  if (tree.kind !== "list" || tree.items.length === 0 || random.once(8)) {
    return changeHere(random, tree);
  }
  const at = random.below(tree.items.length);
  const chosen = tree.items[at];
  if (chosen === undefined) return tree;
  if (random.once(3)) return { ...tree, items: changeItems(random, tree.items, at) };
  return { ...tree, items: tree.items.with(at, changeCbor(random, chosen)) };
}

function changeItems(random: Random, items: readonly CborTree[], at: number): readonly CborTree[] {
  const pair = at - (at % 2);
  switch (random.below(5)) {
    case 0:
      return items.toSpliced(at, 1);
    case 1:
      return items.toSpliced(pair, 2);
    case 2:
      return items.toSpliced(pair, 0, ...items.slice(pair, pair + 2));
    case 3:
      return items.toSpliced(pair, 0, anyCbor(random, 0), anyCbor(random, 1));
    default: {
      const other = random.below(items.length);
      const [left, right] = [items[at], items[other]];
      return left === undefined || right === undefined
        ? items
        : items.with(at, right).with(other, left);
    }
  }
}

function changeHere(random: Random, tree: CborTree): CborTree {
  switch (random.below(6)) {
    case 0:
      return { kind: "tag", tag: edgeInteger(random), item: tree };
    case 1:
      return { kind: "list", major: 4, items: [tree], form: anyForm(random) };
    case 2:
      return anyCbor(random, 2);
    case 3:
      if (tree.kind === "list") return { ...tree, form: anyForm(random) };
      return anyCbor(random, 0);
    default:
      return changeValue(random, tree);
  }
}

function changeValue(random: Random, tree: CborTree): CborTree {
  if (tree.kind === "integer") {
    return { ...tree, value: random.once(2) ? edgeInteger(random) : tree.value + 1n };
  }
  if (tree.kind !== "string") return anyCbor(random, 1);
  if (random.once(3)) return { ...tree, major: tree.major === 2 ? 3 : 2 };
  const length = random.pick([
    0,
    1,
    31,
    32,
    47,
    48,
    49,
    64,
    512,
    1023,
    1024,
    1025,
    tree.bytes.length,
  ]);
  const bytes = random.bytes(length);
  bytes.set(tree.bytes.subarray(0, length));
  if (length > 0 && random.once(2)) bytes[random.below(length)] = random.below(256);
  return { ...tree, bytes };
}

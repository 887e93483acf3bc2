import { concat } from "../../protocol/index.ts";
import { edgeOctet, mutate } from "./mutate.ts";
import type { Random } from "./random.ts";

/** A BER element to write, right or wrong (X.690 § 8.1). */
export interface DerTree {
  readonly tag: number;
  /** Octets, or the elements inside. */
  readonly content: Uint8Array | readonly DerTree[];
  readonly form: "shortest" | "longer" | "indefinite" | "one more" | "one less" | "huge";
}

/** Writes `tree` with its lengths recomputed, in the form each element asks for. */
export function writeDer({ tag, content, form }: DerTree): Uint8Array {
  const body = content instanceof Uint8Array ? content : concat(...content.map(writeDer));
  switch (form) {
    case "shortest":
      return concat(derHead(tag, body.length), body);
    case "longer":
      return concat(Uint8Array.of(tag, 0x84, 0, 0, body.length >> 8, body.length & 0xff), body);
    case "indefinite":
      return concat(Uint8Array.of(tag, 0x80), body, Uint8Array.of(0, 0));
    case "one more":
      return concat(Uint8Array.of(tag), lengthOf(body.length + 1), body);
    case "one less":
      return concat(Uint8Array.of(tag), lengthOf(Math.max(0, body.length - 1)), body);
    case "huge":
      return concat(Uint8Array.of(tag, 0x84, 0x7f, 0xff, 0xff, 0xff), body);
  }
}

/** Identifier and length octets, in the shortest form. */
export function derHead(tag: number, length: number): Uint8Array {
  return concat(Uint8Array.of(tag), lengthOf(length));
}

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  if (length < 0x100) return Uint8Array.of(0x81, length);
  if (length < 0x10000) return Uint8Array.of(0x82, length >> 8, length & 0xff);
  return Uint8Array.of(0x83, length >> 16, (length >> 8) & 0xff, length & 0xff);
}

/** Reads the elements of well-formed bytes of our own making; what is no element stays octets. */
export function readDer(bytes: Uint8Array): readonly DerTree[] {
  const elements: DerTree[] = [];
  let at = 0;
  while (at < bytes.length) {
    const element = readElement(bytes, at);
    if (element === null) return [];
    elements.push(element.tree);
    at = element.next;
  }
  return elements;
}

function readElement(bytes: Uint8Array, at: number): { tree: DerTree; next: number } | null {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return null;
  const count = first < 0x80 ? 0 : first & 0x7f;
  if (count > 3) return null;
  if (first === 0x80) return readIndefinite(bytes, at);
  let length = count === 0 ? first : 0;
  for (let step = 0; step < count; step++) length = length * 256 + (bytes[at + 2 + step] ?? 0);
  const from = at + 2 + count;
  const next = from + length;
  if (next > bytes.length) return null;
  const octets = bytes.subarray(from, next);
  return { tree: { tag, content: contentOf(tag, octets), form: "shortest" }, next };
}

/** Constructed contents as elements, and those of extension values, which are DER in an OCTET STRING. */
function contentOf(tag: number, octets: Uint8Array): DerTree["content"] {
  const isExtension = tag === 0x04 && (octets[0] === 0x30 || octets[0] === 0x03);
  const inner = (tag & 0x20) !== 0 || isExtension ? readDer(octets) : [];
  return inner.length > 0 ? inner : octets;
}

function readIndefinite(bytes: Uint8Array, at: number): { tree: DerTree; next: number } | null {
  const tag = bytes[at] ?? 0;
  const content: DerTree[] = [];
  let next = at + 2;
  while (next < bytes.length && !(bytes[next] === 0 && bytes[next + 1] === 0)) {
    const element = readElement(bytes, next);
    if (element === null) return null;
    content.push(element.tree);
    next = element.next;
  }
  return { tree: { tag, content, form: "indefinite" }, next: next + 2 };
}

/** `tree` with one element somewhere replaced, removed, repeated, moved, wrapped, retagged or changed inside. */
export function changeDer(random: Random, tree: DerTree): DerTree {
  const { content } = tree;
  if (content instanceof Uint8Array || content.length === 0 || random.once(10)) {
    return changeHere(random, tree);
  }
  const at = random.below(content.length);
  const chosen = content[at];
  if (chosen === undefined) return tree;
  if (!random.once(4)) return { ...tree, content: content.with(at, changeDer(random, chosen)) };
  switch (random.below(4)) {
    case 0:
      return { ...tree, content: content.toSpliced(at, 1) };
    case 1:
      return { ...tree, content: content.toSpliced(at, 0, chosen) };
    case 2:
      return { ...tree, content: content.toSpliced(at, 0, anyDer(random, 2)) };
    default:
      return { ...tree, content: content.toSorted(() => random.between(-1, 1)) };
  }
}

function changeHere(random: Random, tree: DerTree): DerTree {
  const { content } = tree;
  switch (random.below(8)) {
    case 0:
      return { ...tree, tag: random.once(2) ? random.pick(TAGS) : edgeOctet(random) };
    case 1:
      return { ...tree, form: random.pick(FORMS) };
    case 2:
      return { tag: 0x30, content: [tree], form: "shortest" };
    case 3:
      return anyDer(random, 3);
    case 4:
      return { ...tree, content: new Uint8Array(0) };
    default:
      if (!(content instanceof Uint8Array)) return { ...tree, form: "shortest" };
      return { ...tree, content: mutate(random, content) };
  }
}

const TAGS = [
  0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x13, 0x17, 0x18, 0x1f, 0x30, 0x31, 0x80, 0x81,
  0x82, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4,
] as const;
const FORMS = ["longer", "indefinite", "one more", "one less", "huge"] as const;

/** Any element at most `depth` deep. */
export function anyDer(random: Random, depth: number): DerTree {
  const form = random.once(24) ? random.pick(FORMS) : "shortest";
  if (depth === 0 || random.once(2)) {
    const content = random.bytes(random.length(random.once(256) ? 70_000 : 96));
    return { tag: random.pick(TAGS), content, form };
  }
  const count = random.once(64) ? random.length(60) : random.below(6);
  const content = Array.from({ length: count }, () => anyDer(random, depth - 1));
  return { tag: random.pick([0x30, 0x31, 0xa0, 0xa3]), content, form };
}

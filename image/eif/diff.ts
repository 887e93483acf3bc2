import { createHash } from "node:crypto";

import { concat, hex } from "#protocol";

import { chunksOf, contentOfFile, type Content } from "../archive/content.ts";
import type { CpioEntry } from "../archive/cpio-reader.ts";
import { readRamdisks, type Image, type Ramdisk } from "./reader.ts";

/** A register, as attestation documents number them. */
export type Register = "pcr0" | "pcr1" | "pcr2" | "pcr8";

/** One thing that is not the same in two images. */
export interface ImageDifference {
  /** `header`, a section's type, or `ramdisk N`. */
  readonly part: string;
  /** A file's path in its ramdisk; null for the part as a whole. */
  readonly path: string | null;
  readonly change: "added" | "removed" | "changed";
  /** What of a file changed, such as `content` or `mode`; empty for what was added or removed. */
  readonly fields: readonly string[];
  /** Registers that a difference of this part shows in. */
  readonly registers: readonly Register[];
}

/** How two images differ: registers that are not the same, and why. */
export interface ImageComparison {
  readonly registers: readonly Register[];
  readonly differences: readonly ImageDifference[];
}

const BOOT = ["pcr0", "pcr1"] as const;
const APPLICATION = ["pcr0", "pcr2"] as const;
/** The header without the count and tables of sections and the CRC-32, which follow from the sections. */
const HEADER_SPANS = [
  { start: 0, bytes: 26 },
  { start: 540, bytes: 4 },
] as const;

/**
 * Compares two images: sections by their bytes, ramdisks file by file where both can be listed.
 *
 * @throws {@link MalformedError} TEE_IMAGE_MALFORMED
 */
export async function compareImages(from: Image, to: Image): Promise<ImageComparison> {
  const differences = [
    ...(await compareContents({ part: "header", registers: [] }, await headers(from, to))),
    ...(await compareSections(from, to)),
    ...(await compareRamdisks(from, to)),
  ];
  const [before, after] = [registersOf(from), registersOf(to)];
  const registers = (["pcr0", "pcr1", "pcr2", "pcr8"] as const).filter(
    (name) => before[name] !== after[name],
  );
  return { registers, differences };
}

function registersOf({ measurement }: Image): Record<Register, string | null> {
  const { pcr0, pcr1, pcr2, pcr8Unverified: pcr8 } = measurement;
  return { pcr0, pcr1, pcr2, pcr8 };
}

interface Pair {
  readonly before: Content | undefined;
  readonly after: Content | undefined;
}

async function headers(from: Image, to: Image): Promise<Pair> {
  const [before, after] = await Promise.all([from, to].map(headerOf));
  return { before, after };
}

async function headerOf({ path }: Image): Promise<Content> {
  const parts: Uint8Array[] = [];
  for (const span of HEADER_SPANS) {
    for await (const chunk of chunksOf(contentOfFile(path, span), "header")) parts.push(chunk);
  }
  const bytes = concat(...parts);
  return { bytes: bytes.length, read: () => [bytes] };
}

async function compareSections(from: Image, to: Image): Promise<ImageDifference[]> {
  const found: ImageDifference[] = [];
  for (const { part, registers } of [
    { part: "kernel", registers: BOOT },
    { part: "cmdline", registers: BOOT },
    { part: "metadata", registers: [] },
    { part: "signature", registers: ["pcr8"] },
  ] as const) {
    const pair = { before: contentIn(from, part), after: contentIn(to, part) };
    // One after the other: both images may stand on one disk.
    found.push(...(await compareContents({ part, registers }, pair)));
  }
  return found;
}

function contentIn({ sections }: Image, type: string): Content | undefined {
  return sections.find((section) => section.type === type)?.content;
}

type Place = Pick<ImageDifference, "part" | "registers">;

async function compareContents(place: Place, { before, after }: Pair): Promise<ImageDifference[]> {
  const difference = { ...place, path: null, fields: [] };
  if (before === undefined && after === undefined) return [];
  if (before === undefined) return [{ ...difference, change: "added" }];
  if (after === undefined) return [{ ...difference, change: "removed" }];
  const isSame = (await digest(before)) === (await digest(after));
  return isSame ? [] : [{ ...difference, change: "changed", fields: ["content"] }];
}

async function digest(content: Content): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of chunksOf(content, "section")) hash.update(chunk);
  return hex(new Uint8Array(hash.digest()));
}

async function compareRamdisks(from: Image, to: Image): Promise<ImageDifference[]> {
  const [before, after] = [await readRamdisks(from), await readRamdisks(to)];
  const [beforeBytes, afterBytes] = [ramdiskContents(from), ramdiskContents(to)];
  const found: ImageDifference[] = [];
  for (let index = 0; index < Math.max(before.length, after.length); index++) {
    const place = { part: `ramdisk ${index}`, registers: index === 0 ? BOOT : APPLICATION };
    const [old, young] = [before[index], after[index]];
    if (isListed(old) && isListed(young)) {
      found.push(...compareFiles(place, old, young));
    } else {
      const pair = { before: beforeBytes[index], after: afterBytes[index] };
      found.push(...(await compareContents(place, pair)));
    }
  }
  return found;
}

function isListed(ramdisk: Ramdisk | undefined): ramdisk is readonly CpioEntry[] {
  return ramdisk !== undefined && ramdisk !== null;
}

function ramdiskContents({ sections }: Image): readonly Content[] {
  return sections.flatMap(({ type, content }) => (type === "ramdisk" ? [content] : []));
}

function compareFiles(
  place: Place,
  before: readonly CpioEntry[],
  after: readonly CpioEntry[],
): ImageDifference[] {
  const old = new Map(before.map((entry) => [entry.path, entry]));
  const young = new Map(after.map((entry) => [entry.path, entry]));
  const paths = [...new Set([...old.keys(), ...young.keys()])].toSorted((a, b) => (a < b ? -1 : 1));
  return paths.flatMap((path): ImageDifference[] => {
    const [was, is] = [old.get(path), young.get(path)];
    if (was === undefined) return [{ ...place, path, change: "added", fields: [] }];
    if (is === undefined) return [{ ...place, path, change: "removed", fields: [] }];
    const fields = changedFields(was, is);
    return fields.length === 0 ? [] : [{ ...place, path, change: "changed", fields }];
  });
}

/** A link's target and all lengths are in what content hashes to. */
function changedFields(was: CpioEntry, is: CpioEntry): string[] {
  const isSame = {
    kind: was.kind === is.kind,
    mode: was.mode === is.mode,
    content: was.sha256 === is.sha256,
    device: was.device?.join() === is.device?.join(),
  };
  return Object.entries(isSame).flatMap(([name, same]) => (same ? [] : [name]));
}

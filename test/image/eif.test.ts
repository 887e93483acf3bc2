import * as fs from "node:fs";
import { crc32 } from "node:zlib";

import { afterAll, expect, test } from "vitest";

import { EifMeasurer } from "../../attestation/index.ts";
import { contentOf } from "../../image/archive/content.ts";
import { cpioOf } from "../../image/archive/cpio.ts";
import { readImage, readRamdisks, readSection } from "../../image/eif/reader.ts";
import { verifyImageSignature } from "../../image/eif/signature.ts";
import { withPartial } from "../../image/archive/temporary.ts";
import { writeImage } from "../../image/eif/writer.ts";
import { SymphonyError, concat, fromHex, hex, sha384, utf8 } from "../../protocol/index.ts";
import { SECTIONS, writeEif } from "../attestation/eif-file.ts";
import {
  INIT_TREE,
  ROOT_TREE,
  bytesOf,
  createImageFolder,
  createSigner,
  smallParts,
  treeOf,
} from "./rig.ts";

const folder = createImageFolder();
afterAll(() => folder.remove());
const signer = createSigner();

test("writes the bytes that another writer makes of the same sections", async () => {
  const [kernel, cmdline, metadata, first, second] = SECTIONS.map(({ data }) => data);
  const path = await folder.image("same.eif", {
    kernel: contentOf(kernel ?? utf8("")),
    cmdline: Buffer.from(cmdline ?? utf8("")).toString(),
    metadata: metadata ?? utf8(""),
    ramdisks: [
      contentOf(concat(first ?? utf8(""), utf8("\0\0\0"))),
      contentOf(concat(second ?? utf8(""), utf8("\0\0"))),
    ],
  });
  const sections = SECTIONS.map((section, at) => {
    const zeros = new Uint8Array(at === 3 ? 3 : at === 4 ? 2 : 0);
    return { ...section, data: concat(section.data, zeros) };
  });
  expect(hex(fs.readFileSync(path))).toBe(hex(writeEif({ sections })));
});

test("[RT-1] registers are those of the sections' bytes, by AWS's rule", async () => {
  const { measurement } = await readImage(await folder.image("rule.eif", { signer }));
  const [first, second] = [await bytesOf(cpioOf(INIT_TREE)), await bytesOf(cpioOf(ROOT_TREE))];
  const boot = [utf8("a kernel"), utf8("console=ttyS0"), first];
  const extend = (...parts: readonly Uint8Array[]) =>
    hex(sha384(new Uint8Array(48), sha384(...parts)));
  expect(measurement).toMatchObject({
    pcr0: extend(...boot, second),
    pcr1: extend(...boot),
    pcr2: extend(second),
    pcr8Unverified: extend(new Uint8Array(signer.certificate.raw)),
  });
});

test("reads back sections and the files of each ramdisk", async () => {
  const image = await readImage(await folder.image("back.eif"));
  expect(image.sections.map(({ type }) => type)).toEqual([
    "kernel",
    "cmdline",
    "metadata",
    "ramdisk",
    "ramdisk",
  ]);
  expect(hex((await readSection(image, "cmdline", 2048)) ?? utf8(""))).toBe(
    hex(utf8("console=ttyS0")),
  );
  expect(await readSection(image, "signature", 2048)).toBeNull();
  const [boot, root] = await readRamdisks(image);
  expect(boot?.map(({ path }) => path)).toEqual(["init"]);
  expect(root?.map(({ path }) => path)).toContain("rootfs/enclave/main.ts");
  await expect(readSection(image, "cmdline", 12)).rejects.toMatchObject({
    code: "SCHEMA_TOO_LARGE",
  });
});

test("a ramdisk of another builder has no list of files; a damaged one of ours is refused", async () => {
  const packed = contentOf(fromHex("1f8b080000000000"));
  const image = await readImage(await folder.image("packed.eif", { ramdisks: [packed] }));
  expect(await readRamdisks(image)).toEqual([null]);
  const cut = contentOf((await bytesOf(cpioOf(INIT_TREE))).subarray(0, -4));
  const damaged = await readImage(await folder.image("cut.eif", { ramdisks: [cut] }));
  await expect(readRamdisks(damaged)).rejects.toMatchObject({ code: "TEE_IMAGE_MALFORMED" });
});

/** Flips one bit in each byte and has `accept` look at what the measurer makes of it. */
function flipEach(
  file: Uint8Array,
  accept: (at: number, registers: string) => void,
  isFixed: boolean,
) {
  let refused = 0;
  for (let at = 0; at < file.length; at++) {
    const flipped = Buffer.from(file);
    flipped[at] = (file[at] ?? 0) ^ (1 << (at & 7));
    if (isFixed)
      flipped.writeUInt32BE(crc32(flipped.subarray(548), crc32(flipped.subarray(0, 544))), 544);
    try {
      const measurer = new EifMeasurer({ signer: "ignored" });
      measurer.push(flipped);
      const { pcr0, pcr1, pcr2 } = measurer.finish();
      accept(at, [pcr0, pcr1, pcr2].join());
    } catch {
      refused += 1;
    }
  }
  return refused;
}

test("[RT-1] one flipped bit anywhere is refused", async () => {
  const file = fs.readFileSync(await folder.image("bits.eif"));
  const accepted: number[] = [];
  expect(flipEach(file, (at) => accepted.push(at), false)).toBe(file.length);
  expect(accepted).toEqual([]);
});

test("[RT-1] with its CRC made to fit, one flipped bit changes the registers of its section", async () => {
  const path = await folder.image("fixed.eif");
  const { measurement } = await readImage(path);
  const good = [measurement.pcr0, measurement.pcr1, measurement.pcr2];
  const changed = new Map<string, Set<string>>();
  const file = fs.readFileSync(path);
  let start = 548;
  const spans = measurement.sections.map(({ type, bytes }, index) => {
    start += 12 + bytes;
    return { name: `${index} ${type}`, from: start - bytes, to: start };
  });
  flipEach(
    file,
    (at, registers) => {
      const span = spans.find(({ from, to }) => at >= from && at < to)?.name ?? "header";
      const which = registers.split(",").map((value, pcr) => (value === good[pcr] ? "" : `${pcr}`));
      changed.set(span, (changed.get(span) ?? new Set()).add(which.join("")));
    },
    true,
  );
  const shown = Object.fromEntries([...changed].map(([span, which]) => [span, [...which]]));
  // The header's memory, processors and reserved fields, and the metadata, are in no register.
  expect(shown).toEqual({
    header: [""],
    "0 kernel": ["01"],
    "1 cmdline": ["01"],
    "2 metadata": [""],
    "3 ramdisk": ["01"],
    "4 ramdisk": ["02"],
  });
});

test("signs PCR 0 so that it verifies, and nothing else does", async () => {
  const image = await readImage(await folder.image("signed.eif", { signer }));
  const section = (await readSection(image, "signature", 32_768)) ?? utf8("");
  const pcr0 = fromHex(image.measurement.pcr0);
  expect(verifyImageSignature(section, pcr0).pcr8).toBe(image.measurement.pcr8Unverified);
  expect(() => verifyImageSignature(section, fromHex(image.measurement.pcr1))).toThrow(
    /expected one over PCR0 [0-9a-f]{96}, got/,
  );
  const codes = new Set<string>();
  for (let at = 0; at < section.length; at++) {
    const flipped = section.with(at, (section[at] ?? 0) ^ 1);
    try {
      const { pcr8 } = verifyImageSignature(flipped, pcr0);
      // A change of the certificate that leaves its key alone makes it another signer.
      expect(pcr8).not.toBe(image.measurement.pcr8Unverified);
    } catch (error) {
      codes.add(error instanceof SymphonyError ? error.code : String(error));
    }
  }
  expect([...codes].toSorted()).toEqual(["TEE_IMAGE_MALFORMED", "TEE_SIGNATURE_INVALID"]);
});

test.for([
  { title: "a key that is not the certificate's", signer: { ...signer, key: createSigner().key } },
  { title: "a key on another curve", signer: createSigner("P-256") },
])("does not sign with $title, and leaves no file", async ({ signer: other }) => {
  const written = folder.image("unsigned.eif", { signer: other });
  await expect(written).rejects.toMatchObject({ code: "TEE_IMAGE_MALFORMED" });
  expect(fs.readdirSync(folder.path).filter((name) => name.startsWith("unsigned"))).toEqual([]);
});

test("an image that cannot be written whole replaces nothing", async () => {
  const path = await folder.image("kept.eif");
  const before = fs.readFileSync(path);
  const kernel = { bytes: 9, read: () => [utf8("a kernel")] };
  const written = writeImage(path, { ...smallParts(), kernel });
  await expect(written).rejects.toMatchObject({ code: "TEE_IMAGE_MALFORMED" });
  expect(fs.readFileSync(path).equals(before)).toBe(true);
});

test("a ramdisk whose length is no multiple of four is refused: the next would not be found", async () => {
  const ramdisks = [contentOf(utf8("abc"))] as const;
  await expect(folder.image("odd.eif", { ramdisks })).rejects.toMatchObject({
    code: "TEE_IMAGE_MALFORMED",
  });
});

test("[RT-1] equal trees give equal images, whatever order they were gathered in", async () => {
  const tree = treeOf({ "b/c": "2", a: "1" });
  const turned = new Map([...tree].toReversed());
  const one = await folder.image("one.eif", { ramdisks: [cpioOf(tree)] });
  const two = await folder.image("two.eif", { ramdisks: [cpioOf(turned)] });
  expect(fs.readFileSync(one).equals(fs.readFileSync(two))).toBe(true);
});

test("a link that lies where an image is being written leads nowhere", async () => {
  const elsewhere = folder.write("elsewhere", "untouched");
  const file = folder.write("linked.eif", "");
  const partial = await withPartial(file, async (name) => {
    fs.writeFileSync(name, "");
    return name;
  });
  fs.symlinkSync(elsewhere, partial);
  await writeImage(file, smallParts());
  expect(fs.readFileSync(elsewhere, "utf8")).toBe("untouched");
});

import { createHash } from "node:crypto";

import * as fc from "fast-check";
import { expect, test } from "vitest";

import { EIF_BYTES_MAX, EifMeasurer, type EifMeasurement } from "../../attestation/index.ts";
import { SymphonyError, concat, utf8 } from "../../protocol/index.ts";
import { SECTIONS, signatureSection, writeEif, type Section } from "./eif-file.ts";
import { CHAIN } from "./forge.ts";

function measure(file: Uint8Array, signer: "ignored" | "unverified" = "ignored"): EifMeasurement {
  const measurer = new EifMeasurer({ signer });
  measurer.push(file);
  return measurer.finish();
}

/** SHA-384 of 48 zeros and the SHA-384 of `content`, written out once more. */
function extended(...content: readonly Uint8Array[]): string {
  const digest = createHash("sha384")
    .update(concat(...content))
    .digest();
  return createHash("sha384").update(Buffer.alloc(48)).update(digest).digest("hex");
}

const [KERNEL, CMDLINE, , FIRST, SECOND] = SECTIONS.map(({ data }) => data);
const parts = { kernel: KERNEL, cmdline: CMDLINE, first: FIRST, second: SECOND };
const part = (name: keyof typeof parts): Uint8Array => parts[name] ?? utf8("");
const withoutSecond = SECTIONS.slice(0, 4);

test("PCR 0, 1 and 2 are of the sections' data, in file order, without metadata", () => {
  const { pcr0, pcr1, pcr2, pcr8Unverified, sections, ...rest } = measure(writeEif());
  const boot = [part("kernel"), part("cmdline"), part("first")];
  expect(pcr0).toBe(extended(...boot, part("second")));
  expect(pcr1).toBe(extended(...boot));
  expect(pcr2).toBe(extended(part("second")));
  expect(pcr8Unverified).toBeNull();
  expect(sections.map(({ type }) => type)).toEqual([
    "kernel",
    "cmdline",
    "metadata",
    "ramdisk",
    "ramdisk",
  ]);
  expect(rest).toEqual({ isSigned: false, architecture: "x86_64", bytes: writeEif().length });
});

test("PCR 2 of an image with one ramdisk is the published value, and PCR 0 is PCR 1", () => {
  const { pcr0, pcr1, pcr2 } = measure(writeEif({ sections: withoutSecond }));
  expect(pcr2.slice(0, 12)).toBe("21b9efbc1848");
  expect(pcr2.slice(-4)).toBe("500a");
  expect(pcr0).toBe(pcr1);
});

test("a byte that moves to the next section is seen in one of the three", () => {
  const moved = SECTIONS.map(({ type, data }) => {
    if (type === 3 && data === FIRST) return { type, data: data.subarray(0, -1) };
    if (type === 3) return { type, data: concat(utf8("k"), data) };
    return { type, data };
  });
  const [before, after] = [measure(writeEif()), measure(writeEif({ sections: moved }))];
  expect(after.pcr0).toBe(before.pcr0);
  expect([after.pcr1, after.pcr2]).not.toEqual([before.pcr1, before.pcr2]);
});

test("PCR 8 is of the certificate that the file names, only when asked", () => {
  const certificate = CHAIN[0] ?? utf8("");
  const file = writeEif({ sections: [...SECTIONS, signatureSection(certificate)] });
  expect(measure(file)).toMatchObject({ isSigned: true, pcr8Unverified: null });
  expect(measure(file, "unverified").pcr8Unverified).toBe(extended(certificate));
  expect(measure(writeEif(), "unverified").pcr8Unverified).toBeNull();
  expect(measure(file).pcr0).toBe(measure(writeEif()).pcr0);
});

test("says the architecture, and reads versions 2 and 3", () => {
  const plain = SECTIONS.filter(({ type }) => type !== 5);
  expect(measure(writeEif({ flags: 1 })).architecture).toBe("aarch64");
  for (const version of [2, 3]) {
    expect(measure(writeEif({ version, sections: plain })).pcr0).toBe(measure(writeEif()).pcr0);
  }
});

test("takes every limit to its last", () => {
  const many = [...SECTIONS, ...Array.from({ length: 27 }, () => ({ type: 3, data: utf8("x") }))];
  expect(measure(writeEif({ sections: many })).sections).toHaveLength(32);
  const largest = { type: 4, data: new Uint8Array(32_768) };
  expect(measure(writeEif({ sections: [...SECTIONS, largest] })).isSigned).toBe(true);
  const end = BigInt(EIF_BYTES_MAX - 548 - 12 * SECTIONS.length);
  const others = SECTIONS.slice(1).reduce((sum, { data }) => sum + BigInt(data.length), 0n);
  const header = (size: bigint) =>
    writeEif({
      edit: (file) => {
        let offset = 548n;
        for (const [index, { data }] of SECTIONS.entries()) {
          const bytes = index === 0 ? size : BigInt(data.length);
          file.setBigUint64(28 + 8 * index, offset);
          file.setBigUint64(284 + 8 * index, bytes);
          offset += 12n + bytes;
        }
      },
    }).subarray(0, 548);
  expect(() => measure(header(end - others))).toThrow("whole sections");
  expect(() => measure(header(end - others + 1n))).toThrow("at most 17179869184 bytes");
});

test("an empty section measures as nothing, and differs by its presence in no register", () => {
  const empty = [...SECTIONS, { type: 3, data: new Uint8Array(0) }];
  const { pcr0, pcr1, pcr2 } = measure(writeEif());
  expect(measure(writeEif({ sections: empty }))).toMatchObject({ pcr0, pcr1, pcr2 });
});

test.for([
  { title: "of 1, in an array of 23", certificate: CHAIN[0], head: 0x97 },
  { title: "of a certificate in fewer than 256 characters", certificate: CHAIN[0]?.slice(0, 90) },
])("reads PCR 8 $title", ({ certificate = utf8(""), head = 0x81 }) => {
  const { data } = signatureSection(certificate);
  const file = writeEif({ sections: [...SECTIONS, { type: 4, data: data.with(0, head) }] });
  expect(measure(file, "unverified").pcr8Unverified).toBe(extended(certificate));
});

test("how the file is cut into chunks does not matter", () => {
  const file = writeEif({ sections: [...SECTIONS, signatureSection(CHAIN[0] ?? utf8(""))] });
  const whole = measure(file, "unverified");
  fc.assert(
    fc.property(fc.array(fc.nat(file.length), { maxLength: 12 }), (cuts) => {
      const measurer = new EifMeasurer({ signer: "unverified" });
      const at = [0, ...cuts.toSorted((a, b) => a - b), file.length];
      for (const [index, end] of at.entries()) {
        measurer.push(file.subarray(at[Math.max(0, index - 1)], end));
      }
      expect(measurer.finish()).toEqual(whole);
    }),
    { numRuns: 50 },
  );
});

interface Refusal {
  readonly title: string;
  readonly message: string;
  readonly file: () => Uint8Array;
  readonly code?: string;
}

const with8 = (at: number, value: bigint) => writeEif({ edit: (f) => f.setBigUint64(at, value) });
const with2 = (at: number, value: number) => writeEif({ edit: (f) => f.setUint16(at, value) });
const ofSections = (...sections: readonly Section[]) => writeEif({ sections });
const [kernel, cmdline, metadata, ramdisk] = SECTIONS;
const all = (...sections: readonly (Section | undefined)[]): Section[] =>
  sections.filter((section) => section !== undefined);
const good = writeEif();

test.for<Refusal>([
  { title: "no bytes", message: "header", file: () => new Uint8Array(0) },
  { title: "half a header", message: "header", file: () => good.subarray(0, 300) },
  { title: "the header alone", message: "whole sections", file: () => good.subarray(0, 548) },
  { title: "a cut section header", message: "whole", file: () => good.subarray(0, 555) },
  { title: "the last byte missing", message: "whole", file: () => good.subarray(0, -1) },
  { title: "the last section missing", message: "whole", file: () => good.subarray(0, -26) },
  { title: "a byte more", message: "end after", file: () => concat(good, utf8("x")) },
  { title: "two files in a row", message: "end after", file: () => concat(good, good) },
  { title: "another magic", message: "magic", file: () => good.with(0, 0x7f) },
  { title: "version 1", message: "version", file: () => writeEif({ version: 1 }) },
  { title: "version 5", message: "version", file: () => writeEif({ version: 5 }) },
  { title: "unknown flags", message: "flags", file: () => writeEif({ flags: 2 }) },
  { title: "one section", message: "section count", file: () => writeEif({ count: 1 }) },
  { title: "33 sections", message: "section count", file: () => writeEif({ count: 33 }) },
  { title: "a bit of the kernel", message: "CRC-32", file: () => good.with(562, 0x62) },
  { title: "a bit of the CRC", message: "CRC-32", file: () => good.with(547, ~(good[547] ?? 0)) },
  { title: "a bit of the memory size", message: "CRC-32", file: () => good.with(9, 1) },
  { title: "a gap", message: "section 1 offset", file: () => with8(36, 569n) },
  { title: "an overlap", message: "section 1 offset", file: () => with8(36, 548n) },
  { title: "a size unlike the table", message: "section 0 size", file: () => with8(552, 7n) },
  {
    title: "a size of 2^63",
    message: "image",
    code: "SCHEMA_TOO_LARGE",
    file: () => with8(284, 1n << 63n),
  },
  {
    title: "a size of the limit",
    message: "image",
    code: "SCHEMA_TOO_LARGE",
    file: () => with8(284, BigInt(EIF_BYTES_MAX)),
  },
  { title: "a section of type 0", message: "section 0 type", file: () => with2(548, 0) },
  { title: "a section of type 6", message: "section 0 type", file: () => with2(548, 6) },
  { title: "flags of a section", message: "section 0 flags", file: () => with2(550, 1) },
  { title: "no kernel", message: "kernel", file: () => ofSections(...all(cmdline, ramdisk)) },
  {
    title: "two kernels",
    message: "one kernel",
    file: () => ofSections(...all(kernel, kernel, cmdline, ramdisk)),
  },
  {
    title: "two command lines",
    message: "one cmdline",
    file: () => ofSections(...all(kernel, cmdline, cmdline, ramdisk)),
  },
  {
    title: "the command line after a ramdisk",
    message: "kernel and cmdline before ramdisk",
    file: () => ofSections(...all(kernel, ramdisk, cmdline)),
  },
  { title: "no ramdisk", message: "a ramdisk", file: () => ofSections(...all(kernel, cmdline)) },
  {
    title: "metadata before version 4",
    message: "metadata section",
    file: () => writeEif({ version: 3 }),
  },
  {
    title: "a signature before version 3",
    message: "signature section",
    file: () =>
      writeEif({ version: 2, sections: all(kernel, cmdline, ramdisk, { type: 4, data: good }) }),
  },
  {
    title: "two metadata sections",
    message: "one metadata",
    file: () => ofSections(...all(kernel, cmdline, metadata, metadata, ramdisk)),
  },
  {
    title: "a signature over its limit",
    message: "signature section",
    code: "SCHEMA_TOO_LARGE",
    file: () => ofSections(...SECTIONS, { type: 4, data: new Uint8Array(32_769) }),
  },
])("refuses an image with $title", ({ message, file, code = "TEE_IMAGE_MALFORMED" }) => {
  expect(() => measure(file())).toThrow(expect.objectContaining({ code }));
  expect(() => measure(file())).toThrow(message);
});

const signature = signatureSection(CHAIN[0] ?? utf8("")).data;

test.for([
  { title: "no bytes", data: new Uint8Array(1) },
  { title: "a map", data: signature.with(0, 0xa1) },
  { title: "an empty array", data: signature.with(0, 0x80) },
  { title: "an array of unsaid length", data: signature.with(0, 0x98) },
  { title: "a longer array head", data: signature.with(22, 0x9a) },
  { title: "an integer of two bytes", data: signature.with(24, 0x19) },
  { title: "an array cut in an integer", data: signature.subarray(0, 25) },
  { title: "another key", data: signature.with(5, 0x74) },
  { title: "a byte string", data: signature.with(22, 0x59) },
  { title: "a negative integer", data: signature.with(25, 0x20) },
  { title: "text that is no PEM", data: signature.with(26, 0x2e) },
  { title: "fewer integers than said", data: signature.subarray(0, 100) },
])("refuses PCR 8 of a signature section with $title", ({ data }) => {
  const file = ofSections(...SECTIONS, { type: 4, data });
  expect(() => measure(file, "unverified")).toThrow(
    expect.objectContaining({ code: "TEE_IMAGE_MALFORMED" }),
  );
});

test("PCR 8 is of a certificate in one spelling: unused bits of its base64 are zero", () => {
  const { data } = signatureSection(Uint8Array.of(0, 0));
  const section = (bytes: Uint8Array) => ofSections(...SECTIONS, { type: 4, data: bytes });
  expect(() => measure(section(data), "unverified")).not.toThrow();
  // "AAA=" and "AAB=" are the same two bytes; each character has a byte of CBOR before it.
  const last = data.indexOf(0x3d) - 2;
  expect(data[last]).toBe(0x41);
  expect(() => measure(section(data.with(last, 0x42)), "unverified")).toThrow(
    expect.objectContaining({ code: "TEE_IMAGE_MALFORMED" }),
  );
});

test("any bytes give a measurement or a typed error", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
      fc.nat(good.length),
      (edits, length) => {
        const file = good.slice(0, length);
        for (const [at, value] of edits) file[at] = value;
        try {
          measure(file, "unverified");
        } catch (error) {
          expect(error).toBeInstanceOf(SymphonyError);
        }
        expect(length).toBeLessThanOrEqual(good.length);
      },
    ),
    { numRuns: 300 },
  );
});

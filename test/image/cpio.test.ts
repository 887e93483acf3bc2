import fc from "fast-check";
import { expect, test } from "vitest";

import { contentOf } from "../../image/archive/content.ts";
import { CPIO_ENTRIES_MAX, cpioOf, type Node, type Tree } from "../../image/archive/cpio.ts";
import { CpioReader, type CpioEntry } from "../../image/archive/cpio-reader.ts";
import { SymphonyError, concat, hex, sha256, utf8 } from "../../protocol/index.ts";
import { bytesOf, entriesOf, treeOf } from "./rig.ts";

const FILE: Node = { kind: "file", mode: 0o644, content: contentOf(utf8("data\n")) };
const FOLDER: Node = { kind: "folder", mode: 0o755 };
const TREE: Tree = new Map<string, Node>([
  ["dev/null", { kind: "device", mode: 0o666, major: 1, minor: 3 }],
  ["dev", FOLDER],
  ["init", { kind: "link", target: "sbin/init" }],
  ["sbin", FOLDER],
  ["sbin/init", { ...FILE, mode: 0o755 }],
]);

/** One header with its path, written out by hand from the kernel's buffer-format.rst. */
function head(fields: string, path: string): string {
  const name = `${path}\0`;
  const length = name.length.toString(16).padStart(8, "0");
  const text = `070701${fields.replaceAll(" ", "")}${length}00000000${name}`;
  return text.padEnd(Math.ceil(text.length / 4) * 4, "\0");
}

const ZEROS = "00000000 00000000 00000001 00000000";

test("writes the archive that the kernel's document describes, in order of path", async () => {
  const none = "00000000 00000000 00000000 00000000";
  const expected = [
    head(`00000001 000041ed ${ZEROS} 00000000 ${none}`, "dev"),
    head(`00000002 000021b6 ${ZEROS} 00000000 00000000 00000000 00000001 00000003`, "dev/null"),
    `${head(`00000003 0000a1ff ${ZEROS} 00000009 ${none}`, "init")}sbin/init\0\0\0`,
    head(`00000004 000041ed ${ZEROS} 00000000 ${none}`, "sbin"),
    `${head(`00000005 000081ed ${ZEROS} 00000005 ${none}`, "sbin/init")}data\n\0\0\0`,
    head(`00000006 00000000 ${ZEROS} 00000000 ${none}`, "TRAILER!!!"),
  ].join("");
  expect(Buffer.from(await bytesOf(cpioOf(TREE))).toString("latin1")).toBe(expected);
  expect(cpioOf(TREE).bytes).toBe(expected.length);
});

test("reads back every entry with what its content hashes to", async () => {
  expect(entriesOf(await bytesOf(cpioOf(TREE)))).toEqual([
    entry("dev", { kind: "folder", mode: 0o755 }),
    entry("dev/null", { kind: "device", mode: 0o666, device: [1, 3] }),
    entry("init", { kind: "link", mode: 0o777, bytes: 9, target: "sbin/init", text: "sbin/init" }),
    entry("sbin", { kind: "folder", mode: 0o755 }),
    entry("sbin/init", { kind: "file", mode: 0o755, bytes: 5, text: "data\n" }),
  ]);
});

function entry(path: string, changes: Partial<CpioEntry> & { readonly text?: string }) {
  const { text, ...fields } = changes;
  const sha = text === undefined ? null : hex(sha256(utf8(text)));
  return { path, bytes: 0, sha256: sha, target: null, device: null, ...fields };
}

const name = fc.stringMatching(/^[a-z]{1,5}$/);
const files = fc.dictionary(
  fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/")),
  fc.uint8Array({ maxLength: 40 }),
  { maxKeys: 6 },
);

test("write and read are each other's inverse, however the bytes are cut", async () => {
  await fc.assert(
    fc.asyncProperty(files, fc.integer({ min: 1, max: 200 }), async (chosen, step) => {
      fc.pre(
        Object.keys(chosen).every((a) => !Object.keys(chosen).some((b) => b.startsWith(`${a}/`))),
      );
      const tree = treeOf(chosen);
      const archive = await bytesOf(cpioOf(tree));
      const reader = new CpioReader();
      for (let at = 0; at < archive.length; at += step)
        reader.push(archive.subarray(at, at + step));
      const found = reader.finish();
      expect(found.map(({ path }) => path)).toEqual([...tree.keys()].toSorted());
      for (const { path, kind, sha256: digest } of found) {
        const content = kind === "file" ? hex(sha256(chosen[path] ?? utf8(""))) : null;
        expect(digest).toBe(content);
      }
    }),
    { numRuns: 60 },
  );
});

test("[RT-1] every flipped bit of an archive is refused, or is one of the content", async () => {
  const archive = await bytesOf(cpioOf(TREE));
  const genuine = entriesOf(archive);
  const accepted: number[] = [];
  for (let bit = 0; bit < archive.length * 8; bit++) {
    const flipped = archive.slice();
    flipped[bit >> 3] = (archive[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    try {
      expect(entriesOf(flipped)).not.toEqual(genuine);
      accepted.push(bit >> 3);
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
    }
  }
  expect(accepted).toContain(archive.length - 124 - 8);
});

test.for<{ title: string; tree: Tree; code?: string }>([
  { title: "an absolute path", tree: new Map([["/init", FILE]]) },
  { title: "a path upwards", tree: new Map([["..", FOLDER]]) },
  { title: "an empty name", tree: new Map([["", FILE]]) },
  { title: "the name of the trailer", tree: new Map([["TRAILER!!!", FILE]]) },
  { title: "a NUL in a path", tree: new Map([["a\0b", FILE]]) },
  { title: "letters that only look alike", tree: new Map([["іnit", FILE]]) },
  { title: "a file in no folder", tree: new Map([["bin/node", FILE]]) },
  {
    title: "a file in a file",
    tree: new Map([
      ["bin", FILE],
      ["bin/node", FILE],
    ]),
  },
  { title: "set-user-id", tree: new Map([["su", { ...FILE, mode: 0o4755 }]]) },
  { title: "a negative mode", tree: new Map([["su", { ...FILE, mode: -1 }]]) },
  { title: "a link to nothing", tree: new Map([["a", { kind: "link", target: "" }]]) },
  {
    title: "a device number of 20 bits",
    tree: new Map([["a", { kind: "device", mode: 0o600, major: 1, minor: 0x1000 }]]),
  },
  {
    title: "a file of 4 GiB",
    tree: new Map([["a", { ...FILE, content: { bytes: 2 ** 32, read: () => [] } }]]),
    code: "SCHEMA_TOO_LARGE",
  },
  {
    title: "a path of 1025 bytes",
    tree: new Map([["a".repeat(1025), FILE]]),
    code: "SCHEMA_TOO_LARGE",
  },
  {
    title: "a link of 1025 bytes",
    tree: new Map([["a", { kind: "link", target: "a".repeat(1025) }]]),
    code: "SCHEMA_TOO_LARGE",
  },
  {
    title: "too many entries",
    tree: new Map(Array.from({ length: CPIO_ENTRIES_MAX + 1 }, (_, at) => [`f${at}`, FILE])),
    code: "SCHEMA_TOO_LARGE",
  },
])("writes no archive with $title", ({ tree, code = "TEE_IMAGE_MALFORMED" }) => {
  expect(() => cpioOf(tree)).toThrow(expect.objectContaining({ code }));
});

test.for([
  { title: "shorter", bytes: 6 },
  { title: "longer", bytes: 4 },
])("stops when a file has become $title", async ({ bytes }) => {
  const content = { bytes, read: () => [utf8("data\n")] };
  const tree: Tree = new Map([["a", { ...FILE, content }]]);
  await expect(bytesOf(cpioOf(tree))).rejects.toMatchObject({ code: "TEE_IMAGE_MALFORMED" });
});

const whole = await bytesOf(cpioOf(TREE));
const text = Buffer.from(whole).toString("latin1");
const edited = (from: string, to: string) => Buffer.from(text.replace(from, to), "latin1");

test.for([
  { title: "no bytes", archive: utf8("") },
  { title: "no trailer", archive: whole.subarray(0, -124) },
  { title: "half a trailer", archive: whole.subarray(0, -1) },
  { title: "bytes after the trailer", archive: concat(whole, utf8("\0")) },
  { title: "another archive after the trailer", archive: concat(whole, whole) },
  { title: "upper-case digits", archive: edited("000041ed", "000041ED") },
  { title: "a sign for a digit", archive: edited("00000001", "-0000001") },
  { title: "another inode", archive: edited("07070100000002", "07070100000009") },
  { title: "a socket", archive: edited("000081ed", "0000c1ed") },
  { title: "a path with no NUL", archive: edited("dev\0", "devx") },
  { title: "entries out of order", archive: edited("dev\0", "zev\0") },
  { title: "a link with a mode of its own", archive: edited("0000a1ff", "0000a1ed") },
  { title: "the checksummed format", archive: edited("070701", "070702") },
])("reads no archive with $title", ({ archive }) => {
  expect(() => entriesOf(archive)).toThrow(
    expect.objectContaining({ code: "TEE_IMAGE_MALFORMED" }),
  );
});

test("a path of any length is refused before it is gathered", () => {
  const endless = edited("0000000400000000dev\0", "ffffffff00000000dev\0");
  expect(() => entriesOf(endless)).toThrow(expect.objectContaining({ code: "SCHEMA_TOO_LARGE" }));
});

import { expect, test } from "vitest";

import { readTar } from "../../image/archive/tar.ts";
import { npmTar } from "../../image/build/unpack.ts";
import { utf8 } from "../../protocol/index.ts";
import { tarOf, type TarFile } from "./checkout.ts";

async function* piecesOf(bytes: Uint8Array, step: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}

async function read(bytes: Uint8Array, step = 100) {
  const found: string[] = [];
  for await (const { path, kind, mode, target, data } of readTar(piecesOf(bytes, step))) {
    const chunks: Uint8Array[] = [];
    if (!path.includes("unread")) for await (const chunk of data()) chunks.push(chunk);
    found.push([kind, mode.toString(8), path, target, Buffer.concat(chunks).toString()].join("|"));
  }
  return found;
}

const FILES: readonly TarFile[] = [
  { name: "./folder/", type: "5", mode: 0o755 },
  { name: "./folder/file", data: "x".repeat(600) },
  { name: "unread", data: "y".repeat(513) },
  { name: "./link", type: "2", target: "folder/file", mode: 0o777 },
  { name: "pipe", type: "6" },
];

test.for([1, 100, 512, 100_000])("reads an archive in pieces of %i bytes", async (step) => {
  expect(await read(tarOf(FILES), step)).toEqual([
    "folder|755|folder||",
    `file|644|folder/file||${"x".repeat(600)}`,
    "file|644|unread||",
    "link|777|link|folder/file|",
    "other|644|pipe||",
  ]);
});

test("long names of pax and GNU are those of the next entry only", async () => {
  const long = "d/".repeat(80);
  const record = `path=${long}pax\n`;
  const files = [
    { name: "global", type: "g", data: "20 path=everywhere\n" },
    { name: "pax", type: "x", data: `${record.length + 4} ${record}` },
    { name: "short" },
    { name: "gnu", type: "L", data: `${long}gnu\0` },
    { name: "short", data: "1" },
    { name: "plain" },
  ];
  const paths = (await read(tarOf(files))).map((line) => line.split("|")[2]);
  expect(paths).toEqual([`${long}pax`, `${long}gnu`, "plain"]);
});

const whole = tarOf(FILES);
const edited = (at: number, text: string): Uint8Array => {
  const bytes = Buffer.from(whole);
  bytes.write(text, at, "latin1");
  return bytes;
};

test.for([
  { title: "no bytes", bytes: utf8("") },
  { title: "half a header", bytes: whole.subarray(0, 300) },
  { title: "a file that is cut", bytes: whole.subarray(0, 1100) },
  { title: "no end", bytes: whole.subarray(0, -1024) },
  { title: "another name than its checksum says", bytes: edited(2, "F") },
  { title: "a size that is no number", bytes: edited(124, "zz") },
])("refuses an archive with $title", async ({ bytes }) => {
  await expect(read(bytes)).rejects.toMatchObject({ code: "TEE_IMAGE_MALFORMED" });
});

test("a name of any length, and an archive of any length, are refused", async () => {
  const name = tarOf([{ name: "gnu", type: "L", data: "n".repeat(70_000) }]);
  await expect(read(name)).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
  const head = tarOf([{ name: "endless", bytes: 8 ** 11 - 1 }]).subarray(0, 512);
  const chunk = Buffer.alloc(1 << 26);
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield head;
    for (;;) yield chunk;
  }
  const skipped = (async () => {
    for await (const { path } of readTar(endless())) expect(path).toBe("endless");
  })();
  await expect(skipped).rejects.toMatchObject({ code: "SCHEMA_TOO_LARGE" });
});

test("a package file that cannot be read is an error of who reads it", async () => {
  const reading = (async () => {
    for await (const { path } of readTar(npmTar("no-such-package.tgz"))) expect(path).toBe("none");
  })();
  await expect(reading).rejects.toThrow("ENOENT");
});

import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";

import { encodeCbor, hex, SymphonyError } from "#protocol";
import { createOcr } from "../../../enclave/adapters/ocr.ts";
import {
  IMAGE_BYTES_MAX,
  parseImageHeader,
  parseReceiptImage,
  type Ocr,
} from "../../../enclave/workloads/parse/index.ts";
import { generateDemoReceipts } from "../../../sim/data/index.ts";

const ROOT = path.resolve(import.meta.dirname, "../../..");
/** Elsewhere when node_modules is a link. */
const PACKAGES = realpathSync(path.join(ROOT, "node_modules"));
const RECEIPTS = generateDemoReceipts(3);

let ocr: Ocr;

beforeAll(async () => {
  ocr = await createOcr();
});

function imageOf(index: number): Uint8Array {
  return RECEIPTS[index]?.image ?? new Uint8Array(0);
}

/** `bytes` with `patch` written over them at `at`. */
function patched(bytes: Uint8Array, at: number, ...patch: readonly number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(patch, at);
  return copy;
}

/** The head of a JPEG: an application segment, then a frame header of `width` by `height`. */
function jpegHead(width: number, height: number): Uint8Array {
  const two = (value: number): number[] => [value >> 8, value & 255];
  const frame = [0xff, 0xc0, 0, 17, 8, ...two(height), ...two(width), 3, 1, 34, 0];
  return new Uint8Array([0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0, ...frame, 2, 17, 1, 3, 17, 1]);
}

describe("a generated receipt", () => {
  test.for([0, 1, 2])("[RT-4] is read off its image right, number %i", (index) => {
    const { spec, image } = RECEIPTS[index] ?? expect.fail("no such receipt");
    const { merchant, date, total, currency, line_items: items } = parseReceiptImage(ocr, image);
    expect(merchant?.value).toBe(spec.merchant.toUpperCase());
    expect(date?.value).toBe(spec.date);
    expect(total?.value).toBe(spec.total);
    expect(currency?.value ?? spec.currency).toBe(spec.currency);
    expect(
      items.map(({ description, amount, quantity }) => ({
        description: description.toUpperCase(),
        amount,
        quantity,
      })),
    ).toEqual(
      spec.items.map(({ description, amount, quantity }) => ({ description, amount, quantity })),
    );
  });

  test("[RT-4] has its boxes in pixels of the image that was given", () => {
    const { total } = parseReceiptImage(ocr, imageOf(0));
    const { width, height } = parseImageHeader(imageOf(0));
    const [x0, y0, x1, y1] = total?.box ?? expect.fail("no total");
    expect(x0).toBeGreaterThan(width / 2);
    expect(x1).toBeLessThanOrEqual(width);
    expect([y0 > height / 2, y1 <= height, y1 - y0 < 40]).toEqual([true, true, true]);
  });

  test("[TC-6] gives the same bytes whatever was read before", () => {
    const bytes = (index: number): string =>
      hex(encodeCbor(parseReceiptImage(ocr, imageOf(index))));
    const first = bytes(0);
    expect(bytes(1)).not.toBe(first);
    expect(bytes(0)).toBe(first);
  });

  test("[RT-4] is read the same in a process that may do nothing but read this folder", () => {
    const file = (name: string): string => pathToFileURL(path.join(ROOT, name)).href;
    const script = `
      import { readFileSync } from "node:fs";
      import { createOcr } from ${JSON.stringify(file("enclave/adapters/ocr.ts"))};
      import { parseReceiptImage } from ${JSON.stringify(file("enclave/workloads/parse/index.ts"))};
      const receipt = parseReceiptImage(await createOcr(), new Uint8Array(readFileSync(0)));
      process.stdout.write(JSON.stringify(receipt));`;
    const folders = [ROOT, PACKAGES].map((folder) => `--allow-fs-read=${folder}/`);
    const permissions = ["--permission", ...folders, "--allow-addons"];
    const child = spawnSync(
      path.join(ROOT, "node_modules/.bin/node"),
      ["--no-warnings", ...permissions, "--input-type=module", "--eval", script],
      { input: imageOf(0), encoding: "utf8" },
    );
    expect(child.stderr).toBe("");
    expect(JSON.parse(child.stdout)).toEqual(parseReceiptImage(ocr, imageOf(0)));
  });
});

describe("an image", () => {
  test("says its format and dimensions in its header", () => {
    expect(parseImageHeader(imageOf(0))).toMatchObject({ format: "png", width: 640 });
    expect(parseImageHeader(jpegHead(463, 1013))).toEqual({
      format: "jpeg",
      width: 463,
      height: 1013,
    });
  });

  const png = imageOf(0);
  test.for([
    ["no bytes", new Uint8Array(0), "SCHEMA_IMAGE_MALFORMED"],
    ["text", new TextEncoder().encode("merchant,total\n"), "SCHEMA_IMAGE_MALFORMED"],
    ["a GIF", new TextEncoder().encode("GIF89a".padEnd(64)), "SCHEMA_IMAGE_MALFORMED"],
    ["a PNG with one bit of its magic turned", patched(png, 1, 0x51), "SCHEMA_IMAGE_MALFORMED"],
    ["a PNG cut off in its header", png.slice(0, 20), "SCHEMA_IMAGE_MALFORMED"],
    ["a PNG cut off after its header", png.slice(0, 40), "SCHEMA_IMAGE_MALFORMED"],
    ["a PNG beginning with another chunk", patched(png, 12, 0x4a), "SCHEMA_IMAGE_MALFORMED"],
    ["a PNG of no width", patched(png, 16, 0, 0, 0, 0), "SCHEMA_IMAGE_MALFORMED"],
    ["a PNG of 2^31 rows", patched(png, 20, 0x80, 0, 0, 0), "SCHEMA_TOO_LARGE"],
    ["a JPEG of 65535 columns", jpegHead(65_535, 10), "SCHEMA_TOO_LARGE"],
    ["a JPEG of 25 megapixels", jpegHead(5_000, 5_000), "SCHEMA_TOO_LARGE"],
    ["a JPEG with nothing behind its header", jpegHead(640, 480), "SCHEMA_IMAGE_MALFORMED"],
    ["a JPEG without a frame header", jpegHead(1, 1).slice(0, 8), "SCHEMA_IMAGE_MALFORMED"],
    ["one byte too many", new Uint8Array(IMAGE_BYTES_MAX + 1), "SCHEMA_TOO_LARGE"],
  ] as const)("of %s is refused with its code", ([, image, code]) => {
    expect(() => ocr.recognize(image)).toThrow(expect.objectContaining({ code }));
  });

  test("that was refused leaves the recogniser working", () => {
    expect(() => ocr.recognize(png.slice(0, 40))).toThrow(SymphonyError);
    expect(parseReceiptImage(ocr, png).total?.value).toBe(RECEIPTS[0]?.spec.total);
  });

  test("of any bytes has a header or a typed error", () => {
    const head = fc.constantFrom(
      png.slice(0, 8),
      jpegHead(640, 480).slice(0, 8),
      new Uint8Array(0),
    );
    fc.assert(
      fc.property(head, fc.uint8Array({ maxLength: 80 }), (magic, rest) => {
        try {
          const { width, height } = parseImageHeader(new Uint8Array([...magic, ...rest]));
          expect(width * height).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(SymphonyError);
        }
      }),
      { numRuns: 500, seed: 11 },
    );
  });
});

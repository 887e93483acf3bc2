import * as fs from "node:fs";
import { homedir } from "node:os";
import path from "node:path";

import { afterAll, expect, test } from "vitest";

import { buildImage, type Build } from "../../image/build/build.ts";
import { readInputs } from "../../image/build/inputs.ts";
import { compilePrograms } from "../../image/build/programs.ts";
import { compareImages } from "../../image/eif/diff.ts";
import { readImage, readRamdisks } from "../../image/eif/reader.ts";
import { IMAGE_FILES, IMAGE_FOLDERS } from "../../image/index.ts";
import { createInsecureSimPlatform } from "../../sim/platform.ts";
import { createImageFolder } from "./rig.ts";

const ROOT = path.join(import.meta.dirname, "../..");
const MINUTES = 60_000;
const folder = createImageFolder();
afterAll(() => folder.remove());

const isFull = process.env["SYMPHONY_FULL"] === "1";
if (!isFull)
  console.warn("whole image: skipped, npm run test:image builds it (minutes, fetches 290 MB)");
const cache = process.env["SYMPHONY_IMAGE_CACHE"] ?? path.join(homedir(), ".cache/symphony/image");

test.skipIf(!isFull)(
  "[RT-1] init, gate and kernel module are compiled to the bytes that are pinned",
  { timeout: 10 * MINUTES },
  async () => {
    // A cache without what was compiled before, so that the compiler runs.
    const fresh = path.join(folder.path, "cache");
    fs.mkdirSync(fresh);
    for (const name of fs.readdirSync(cache).filter((each) => each.endsWith(".deb"))) {
      fs.symlinkSync(path.join(cache, name), path.join(fresh, name));
    }
    const { inputs } = await readInputs(ROOT);
    const options = { root: ROOT, folder: path.join(folder.path, "tools"), cache: fresh };
    const programs = await compilePrograms(inputs, options);
    for (const program of Object.values(programs)) {
      expect(Buffer.from(program.subarray(0, 4)).toString("latin1")).toBe("\u007fELF");
      // Each stands alone.
      expect(Buffer.from(program).includes("/lib64/ld-linux")).toBe(false);
    }
  },
);

/** Builds this checkout's image with a fresh work folder. */
function build(name: string, anchor: Uint8Array | null, root = ROOT): Promise<Build> {
  const out = path.join(folder.path, name);
  return buildImage({ root, out, cache, anchor, signer: null, progress: () => undefined });
}

test.skipIf(!isFull)(
  "[RT-1] the whole image is the same bytes twice, and a simulator's has one file more",
  { timeout: 10 * MINUTES },
  async () => {
    const [one, two] = [await build("one.eif", null), await build("two.eif", null)];
    expect(two).toEqual({ ...one, bill: two.bill, provenance: two.provenance });
    expect(one.measurement.bytes).toBeLessThan(250_000_000);
    const { anchor } = createInsecureSimPlatform(path.join(folder.path, "platform"));
    await build("sim.eif", anchor.certificate);
    const image = await readImage(path.join(folder.path, "one.eif"));
    const simulator = await readImage(path.join(folder.path, "sim.eif"));
    expect(await compareImages(image, simulator)).toEqual({
      registers: ["pcr0", "pcr2"],
      differences: [
        {
          part: "ramdisk 1",
          path: "rootfs/enclave/anchor.der",
          change: "added",
          fields: [],
          registers: ["pcr0", "pcr2"],
        },
      ],
    });
    const [, root] = await readRamdisks(image);
    expect(root?.map(({ path: name }) => name)).toEqual(
      expect.arrayContaining(["rootfs/usr/bin/node", "rootfs/enclave/enclave/main.js"]),
    );
    expect(fs.readdirSync(folder.path).filter((name) => name.endsWith(".partial"))).toEqual([]);
  },
);

test.skipIf(!isFull).for([
  { file: "enclave/limits.ts", from: "\n", to: " \n", registers: ["pcr0", "pcr2"] },
  { file: "image/inputs.json", from: "panic=30", to: "panic=31", registers: ["pcr0", "pcr1"] },
])(
  "[RT-1] the whole image with one byte of $file changed is another",
  { timeout: 10 * MINUTES },
  async ({ file, from, to, registers }) => {
    const root = path.join(folder.path, "changed");
    for (const name of ["image", ...IMAGE_FOLDERS, ...IMAGE_FILES]) {
      fs.cpSync(path.join(ROOT, name), path.join(root, name), { recursive: true });
    }
    const text = fs.readFileSync(path.join(root, file), "utf8");
    fs.writeFileSync(path.join(root, file), text.replace(from, to));
    await build("changed.eif", null, root);
    const one = await readImage(path.join(folder.path, "one.eif"));
    const changed = await readImage(path.join(folder.path, "changed.eif"));
    expect((await compareImages(one, changed)).registers).toEqual(registers);
  },
);

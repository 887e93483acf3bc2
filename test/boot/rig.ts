import { createHash } from "node:crypto";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import { buildImage, type Build } from "../../image/build/build.ts";
import { contentOf } from "../../image/archive/content.ts";
import { readImage } from "../../image/eif/reader.ts";
import { writeImage } from "../../image/eif/writer.ts";
import { createInsecureSimPlatform, type InsecureSimPlatform } from "../../sim/platform.ts";
import { bytesOf, createSigner } from "../image/rig.ts";
import { startMachine, type Machine } from "./machine.ts";

/** An image file of this checkout. */
export interface BootImage extends Build {
  readonly file: string;
}

const ROOT = path.join(import.meta.dirname, "../..");
const CACHE = path.join(os.homedir(), ".cache/symphony");
/** PCR 3 is over this. */
export const PARENT_ROLE = "arn:aws:iam::123456789012:role/symphony-parent";

/** Where test/boot/qemu/build.sh puts what it builds of this checkout. */
const qemu = path.join(
  process.env["SYMPHONY_QEMU_CACHE"] ?? path.join(CACHE, "qemu"),
  createHash("sha256")
    .update(fs.readFileSync(path.join(ROOT, "test/boot/qemu/build.sh")))
    .update(fs.readFileSync(path.join(ROOT, "test/boot/qemu/nsm-signing.patch")))
    .digest("hex")
    .slice(0, 16),
);

/** Why nothing is booted here; null where it is. */
const refusal = findRefusal();
if (refusal !== null) console.warn(`boot: skipped, ${refusal}`);
export const canBoot = refusal === null;

function findRefusal(): string | null {
  if (process.env["SYMPHONY_BOOT"] !== "1") return "npm run test:boot boots the image, in minutes";
  return fs.existsSync(qemu) ? null : "test/boot/qemu/build.sh builds the QEMU for it";
}

let platform: InsecureSimPlatform | undefined;

/** The development root of this process. */
export function bootPlatform(): InsecureSimPlatform {
  platform ??= createInsecureSimPlatform(fs.mkdtempSync(path.join(os.tmpdir(), "boot-platform-")));
  return platform;
}

const images = new Map<string, Promise<BootImage>>();

/**
 * This checkout's image, signed, and built once in a process, since that takes half a minute: the simulator's trusts
 * {@link bootPlatform}, production's does not.
 */
export function bootImage(anchor: "simulator" | "aws"): Promise<BootImage> {
  const known = images.get(anchor) ?? build(anchor);
  images.set(anchor, known);
  return known;
}

async function build(anchor: "simulator" | "aws"): Promise<BootImage> {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "boot-image-")), `${anchor}.eif`);
  const built = await buildImage({
    root: ROOT,
    out: file,
    cache: process.env["SYMPHONY_IMAGE_CACHE"] ?? path.join(CACHE, "image"),
    anchor: anchor === "aws" ? null : bootPlatform().anchor.certificate,
    signer: createSigner(),
    progress: () => undefined,
  });
  return { ...built, file };
}

/** `image` unsigned and with another first character where its second ramdisk has `text`, which it has once. */
export async function withOtherByte(image: BootImage, text: string): Promise<BootImage> {
  const { sections } = await readImage(image.file);
  const contents = await Promise.all(sections.map(({ content }) => bytesOf(content)));
  const [kernel, cmdline, metadata, first, second] = contents;
  if (!kernel || !cmdline || !metadata || !first || !second) throw new Error("no image of ours");
  const found = Buffer.from(second);
  const at = found.indexOf(text);
  if (at < 0 || found.includes(text, at + 1)) throw new Error(`expected ${text} once`);
  second[at] = (second[at] ?? 0) ^ 1;
  const file = `${image.file}.other.eif`;
  const measurement = await writeImage(file, {
    kernel: contentOf(kernel),
    cmdline: Buffer.from(cmdline).toString(),
    metadata,
    ramdisks: [contentOf(first), contentOf(second)],
    signer: null,
  });
  return { ...image, file, measurement };
}

/** Boots `image` under {@link bootPlatform} in QEMU as it is, or in the one that signs. */
export async function boot(
  { file, memoryMib }: Pick<BootImage, "file" | "memoryMib">,
  module: "stock" | "signing",
): Promise<Machine> {
  const machine = await startMachine({
    image: file,
    memoryMib,
    qemu,
    module,
    platform: bootPlatform(),
    parentRole: PARENT_ROLE,
  });
  const seconds = (machine.readyMs / 1000).toFixed(1);
  console.log(
    `boot: ${path.basename(file)}, ${module} QEMU, ${machine.accelerator}: heartbeat after ${seconds} s`,
  );
  return machine;
}

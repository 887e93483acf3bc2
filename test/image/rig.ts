import { X509Certificate, generateKeyPairSync } from "node:crypto";
import * as fs from "node:fs";
import os from "node:os";
import path from "node:path";

import type { Tree } from "../../image/archive/cpio.ts";
import { CpioReader, type CpioEntry } from "../../image/archive/cpio-reader.ts";
import { contentOf, type Content } from "../../image/archive/content.ts";
import { cpioOf } from "../../image/archive/cpio.ts";
import type { ImageSigner } from "../../image/eif/signature.ts";
import { writeImage, type ImageParts } from "../../image/eif/writer.ts";
import { concat, fromHex, utf8 } from "../../protocol/index.ts";
import { issueCertificate } from "../../sim/x509.ts";

/** A folder for images, which goes with `remove`. */
export interface ImageFolder {
  readonly path: string;
  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array): string;
  /** Writes an image of small parts, some of them replaced. */
  image(name: string, changes?: Partial<ImageParts>): Promise<string>;
  remove(): void;
}

export function createImageFolder(): ImageFolder {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "symphony-image-"));
  return {
    path: folder,
    write: (name, content) => {
      const file = path.join(folder, name);
      fs.writeFileSync(file, content);
      return file;
    },
    image: async (name, changes = {}) => {
      const file = path.join(folder, name);
      await writeImage(file, { ...smallParts(), ...changes });
      return file;
    },
    remove: () => fs.rmSync(folder, { recursive: true, force: true }),
  };
}

/** The first ramdisk of a small image. */
export const INIT_TREE: Tree = treeOf({ init: "init program" });

/** The second one. */
export const ROOT_TREE: Tree = treeOf({
  "rootfs/bin/node": "a node",
  "rootfs/enclave/main.ts": "a program",
});

/** Parts of a small image, unsigned. */
export function smallParts(): ImageParts {
  return {
    kernel: contentOf(utf8("a kernel")),
    cmdline: "console=ttyS0",
    metadata: utf8(`{"ImageName":"small"}`),
    ramdisks: [cpioOf(INIT_TREE), cpioOf(ROOT_TREE)],
    signer: null,
  };
}

/** Files by path with their folders, mode 644. */
export function treeOf(files: Readonly<Record<string, string | Uint8Array>>): Tree {
  const tree = new Map<string, ReturnType<Tree["get"]> & object>();
  for (const [name, text] of Object.entries(files)) {
    const parts = name.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      tree.set(parts.slice(0, depth).join("/"), { kind: "folder", mode: 0o755 });
    }
    const content = contentOf(typeof text === "string" ? utf8(text) : text);
    tree.set(name, { kind: "file", mode: 0o644, content });
  }
  return tree;
}

/** All bytes of a content. */
export async function bytesOf(content: Content): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content.read()) chunks.push(chunk);
  return concat(...chunks);
}

/** The entries of an archive in memory. */
export function entriesOf(archive: Uint8Array): readonly CpioEntry[] {
  const reader = new CpioReader();
  reader.push(archive);
  return reader.finish();
}

/** A signer of images whose key is on `curve`. */
export function createSigner(curve: "P-384" | "P-256" = "P-384"): ImageSigner {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: curve });
  const { privateKey: issuerKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const certificate = issueCertificate({
    subject: "image signer",
    issuer: "image signer",
    serial: fromHex("01"),
    notBeforeMs: Date.UTC(2026, 0, 1),
    notAfterMs: Date.UTC(2036, 0, 1),
    publicKey,
    issuerKey,
    extensions: [],
  });
  return { certificate: new X509Certificate(certificate), key: privateKey };
}

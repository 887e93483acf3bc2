import { generateKeyPairSync, sign, verify } from "node:crypto";

import { verifyNitroDocument } from "../attestation/index.ts";
import { createInsecureSimPlatform, InsecureSimNsm } from "../sim/index.ts";
import { createNsmClient } from "../enclave/adapters/nsm.ts";
import { bestSeconds, type Figure } from "./figures.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { FrameReader, encodeFrame } from "../protocol/index.ts";

/** Signatures a full document takes: the document's own and one for each certificate below the pinned root. */
const SIGNATURES = 5;

/** Full document verification against the signatures it cannot do without. */
export async function attestationFigures(): Promise<readonly Figure[]> {
  const directory = mkdtempSync(join(tmpdir(), "symphony-bench-"));
  try {
    const platform = createInsecureSimPlatform(directory);
    const moduleId = platform.moduleId(new Uint8Array(8).fill(1));
    const pcrs = new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(index + 1)]));
    const nsm = new InsecureSimNsm({ platform, pcrs, moduleId, nowMs: Date.now, random: bytes });
    const document = await createNsmClient(streamOf(nsm)).attest({
      nonce: bytes(32),
      userData: bytes(32),
      publicKey: bytes(32),
    });
    const full = await bestSeconds(() =>
      verifyNitroDocument(document, [platform.anchor], { mode: "live", nowMs: Date.now() }),
    );
    const bare = await bestSeconds(bareVerifications());
    return [
      { name: "full attestation document", value: 1 / full, unit: "documents/s" },
      { name: "its five P-384 signatures alone", value: 1 / bare, unit: "documents/s" },
      { name: "share of that limit", value: (bare / full) * 100, unit: "%" },
    ];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function bareVerifications(): () => void {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-384" });
  const message = bytes(1_000);
  const signature = sign("sha384", message, privateKey);
  return () => {
    for (let i = 0; i < SIGNATURES; i += 1) verify("sha384", message, publicKey, signature);
  };
}

function streamOf(nsm: InsecureSimNsm): Duplex {
  const reader = new FrameReader();
  return new Duplex({
    read: () => undefined,
    write(chunk: Uint8Array, _encoding, done) {
      for (const request of reader.push(chunk)) this.push(encodeFrame(nsm.handle(request)));
      done();
    },
  });
}

function bytes(length: number): Uint8Array {
  return new Uint8Array(length).fill(5);
}

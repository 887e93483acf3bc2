import { createPublicKey } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { EXIT, UsageError } from "#cli";
import { base64, fromHex } from "#protocol";

import { measureSimImage } from "./measure.ts";
import { InsecureSimNsm } from "./nsm.ts";
import { createInsecureSimPlatform } from "./platform.ts";
import type { SimProcess } from "./process.ts";

/** What `symphony sim attest --help` prints. */
export const ATTEST_HELP = `symphony sim attest --platform DIR [--image-sha384 HEX] [--pcr0 HEX ... --pcr15 HEX]
                    [--public-key FILE] [--nonce HEX] [--user-data HEX] [--out FILE]

Makes the attestation document of a SIMULATED enclave, signed under the root in --platform (made there when there is
none; its certificate is DIR/sim-root.der). symphony sim kms with the same --platform releases keys to it.

  --image-sha384, --pcr0 ...  measurements, 48 bytes each; ImageSha384 is PCR 0. PCRs that are not given are zero, but
                              PCR 4, which follows from the instance. Without any, PCRs 0 to 2 measure the simulator's
                              image in this checkout. PCRs 0 to 2 of zeros are a debug enclave's.
  --public-key                PEM or DER (SubjectPublicKeyInfo); key release needs one of RSA-2048
  --nonce, --user-data        at most 1024 bytes each
  --out                       where the document goes, as bytes; without it, base64 on standard output
`;

const PCRS = Array.from({ length: 16 }, (_, index) => index);
const OPTIONS = {
  platform: { type: "string" },
  "image-sha384": { type: "string" },
  "public-key": { type: "string" },
  nonce: { type: "string" },
  "user-data": { type: "string" },
  out: { type: "string" },
} as const;
const PCR_OPTIONS = Object.fromEntries(PCRS.map((index) => [`pcr${index}`, { type: "string" }]));
const FIELD_BYTES_MAX = 1024;

/** `symphony sim attest`: one document. */
export function runAttestCommand(argv: readonly string[], sim: SimProcess): number {
  const given = readOptions(argv);
  const directory = given.get("platform");
  if (directory === undefined) throw new UsageError("sim attest: expected --platform");
  const platform = createInsecureSimPlatform(directory);
  const nsm = new InsecureSimNsm({
    platform,
    pcrs: pcrsOf(given) ?? imagePcrs(sim.repositoryRoot, platform.anchor),
    moduleId: platform.moduleId(sim.random(8)),
    nowMs: sim.nowMs,
    random: sim.random,
  });
  const document = nsm.attest({
    nonce: bytesOf(given, "nonce"),
    userData: bytesOf(given, "user-data"),
    publicKey: publicKeyOf(given.get("public-key")),
  });
  const out = given.get("out");
  if (out === undefined) sim.io.stdout(`${base64(document)}\n`);
  else writeFileSync(out, document);
  sim.io.stderr("SIMULATED: no hardware vouches for this document\n");
  return EXIT.ok;
}

type Given = ReadonlyMap<string, string>;

function readOptions(argv: readonly string[]): Given {
  const { values } = parseArgs({ args: [...argv], options: { ...OPTIONS, ...PCR_OPTIONS } });
  return new Map(
    Object.entries(values).flatMap(([name, value]) =>
      typeof value === "string" ? [[name, value] as const] : [],
    ),
  );
}

function pcrsOf(given: Given): ReadonlyMap<number, Uint8Array> | null {
  const image = given.get("image-sha384");
  if (image !== undefined && given.has("pcr0")) {
    throw new UsageError("sim attest: expected --image-sha384 or --pcr0, got both");
  }
  const all = new Map(image === undefined ? given : [...given, ["pcr0", image]]);
  const pcrs = PCRS.flatMap((index) => {
    const text = all.get(`pcr${index}`);
    if (text === undefined) return [];
    if (!/^[0-9a-f]{96}$/i.test(text)) {
      throw new UsageError(`--pcr${index}: expected 96 hex digits, got ${text.length} characters`);
    }
    return [[index, fromHex(text.toLowerCase())] as const];
  });
  return pcrs.length === 0 ? null : new Map(pcrs);
}

function imagePcrs(
  repositoryRoot: string,
  anchor: Parameters<typeof measureSimImage>[1],
): ReadonlyMap<number, Uint8Array> {
  const { pcr0, pcr1, pcr2 } = measureSimImage(repositoryRoot, anchor);
  return new Map([pcr0, pcr1, pcr2].map((pcr, index) => [index, fromHex(pcr)]));
}

function bytesOf(given: Given, name: string): Uint8Array | null {
  const text = given.get(name);
  if (text === undefined) return null;
  if (!/^(?:[0-9a-f]{2})*$/i.test(text) || text.length > 2 * FIELD_BYTES_MAX) {
    throw new UsageError(`--${name}: expected at most ${FIELD_BYTES_MAX} bytes in hex`);
  }
  return fromHex(text.toLowerCase());
}

function publicKeyOf(path: string | undefined): Uint8Array | null {
  if (path === undefined) return null;
  const file = readFileSync(path);
  const isPem = file.toString("latin1").includes("-----BEGIN");
  try {
    const key = createPublicKey(isPem ? file : { key: file, format: "der", type: "spki" });
    return new Uint8Array(key.export({ format: "der", type: "spki" }));
  } catch {
    throw new UsageError(`--public-key: expected PEM or DER of a public key in ${path}`);
  }
}

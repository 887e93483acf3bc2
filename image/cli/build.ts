import { X509Certificate, createPrivateKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { parseArgs } from "node:util";

import { ACCEPTED_MS, EXIT, UsageError, referenceValueOf } from "#cli";
import { parseAnchor } from "#attestation";
import { RefusedError } from "#protocol";

import { buildImage, writeJson, type Build } from "../build/build.ts";
import type { ImageSigner } from "../eif/signature.ts";
import { expectFiles, type ImageIo } from "./io.ts";
import { measurementJson, registerLines } from "./view.ts";

export const BUILD_HELP = `symphony image build --out FILE --anchor aws|simulator [--root CERTIFICATE] [--cache FOLDER] [--json]
                     [--signing-key KEY --signing-certificate CERTIFICATE]

Builds the enclave image (EIF) of this checkout and prints its registers: the same bytes for the same checkout, wherever
and by whomever. Everything besides our own sources is pinned by digest in image/inputs.json and in the lockfile.
Writes FILE, FILE.cdx.json (bill of materials), FILE.provenance.json and FILE.reference.json, the reference value with
which a policy version accepts this image from now on for a year. Needs dpkg-deb and, for packages that are not in the
cache, npm and apt-get; no compiler, no root and no Docker.
Exits 0, 1 when an input is not the pinned one, 2 when called wrongly, 3 when an input cannot be had.

  --anchor aws         the image trusts the root of AWS Nitro, which is built in, and no other
  --anchor simulator   it trusts the development root of --root besides: for tests, never for records
  --root CERTIFICATE   that root, DER; its subject has to say SIMULATED
  --cache FOLDER       where package files are kept; without it ~/.cache/symphony/image
  --signing-key KEY    sign PCR0 with this P-384 key, PEM, which adds PCR8; needs --signing-certificate, PEM. A signed
                       file is not the same bytes twice: such signatures have randomness in them
  --json               one JSON object
`;

const CERTIFICATE_BYTES_MAX = 16 * 1024;

/** `symphony image build`. @returns the exit code */
export async function runBuild(argv: readonly string[], io: ImageIo): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      out: { type: "string" },
      anchor: { type: "string" },
      root: { type: "string" },
      cache: { type: "string" },
      "signing-key": { type: "string" },
      "signing-certificate": { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  expectFiles(positionals, []);
  if (values.out === undefined) throw new UsageError("--out: expected a file, got none");
  const built = await buildImage({
    root: io.repositoryRoot,
    out: path.resolve(values.out),
    cache: path.resolve(values.cache ?? path.join(io.home, ".cache/symphony/image")),
    anchor: await readAnchor(values.anchor, values.root),
    signer: await readSigner(values["signing-key"], values["signing-certificate"]),
    progress: (line) => {
      if (!values.json) io.stderr(`${line}\n`);
    },
  });
  const reference = await writeReference(path.resolve(values.out), built, io.nowMs());
  io.stdout(
    values.json ? `${JSON.stringify(jsonOf(built, reference))}\n` : linesOf(built, reference),
  );
  return EXIT.ok;
}

/** @returns the path */
function writeReference(out: string, { measurement }: Build, nowMs: number): Promise<string> {
  const window = { fromMs: nowMs, untilMs: nowMs + ACCEPTED_MS };
  return writeJson(`${out}.reference.json`, referenceValueOf(measurement, window));
}

/**
 * The development root of a simulator's image; null for production.
 *
 * @throws {@link RefusedError} TEE_PLATFORM_REFUSED for a root that does not say that it is simulated
 */
async function readAnchor(
  anchor: string | undefined,
  root: string | undefined,
): Promise<Uint8Array | null> {
  switch (anchor) {
    case "aws":
      if (root !== undefined) throw new UsageError("--root: expected only with --anchor simulator");
      return null;
    case "simulator": {
      if (root === undefined) throw new UsageError("--root: expected a certificate, got none");
      const { platform, certificate } = parseAnchor(await readSmall(root));
      if (platform === "sim") return certificate;
      throw new RefusedError(
        { code: "TEE_PLATFORM_REFUSED", platform },
        `--root ${root}: expected a root whose subject says SIMULATED, got one of ${platform}`,
      );
    }
    default:
      throw new UsageError(`--anchor: expected aws or simulator, got ${anchor ?? "none"}`);
  }
}

async function readSigner(
  key: string | undefined,
  certificate: string | undefined,
): Promise<ImageSigner | null> {
  if (key === undefined && certificate === undefined) return null;
  if (key === undefined || certificate === undefined) {
    throw new UsageError("--signing-key and --signing-certificate: expected both, got one");
  }
  const [keyPem, certificatePem] = [await readSmall(key), await readSmall(certificate)];
  try {
    return {
      key: createPrivateKey(Buffer.from(keyPem)),
      certificate: new X509Certificate(certificatePem),
    };
  } catch (cause) {
    throw new UsageError(`${key}, ${certificate}: expected a key and a certificate in PEM`, {
      cause,
    });
  }
}

async function readSmall(file: string): Promise<Uint8Array> {
  const bytes = await readFile(file);
  if (bytes.length <= CERTIFICATE_BYTES_MAX) return new Uint8Array(bytes);
  throw new UsageError(`${file}: expected at most ${CERTIFICATE_BYTES_MAX} bytes`);
}

function jsonOf(built: Build, reference: string) {
  const { measurement, sha256, memoryMib, bill, provenance } = built;
  return {
    ...measurementJson(measurement),
    sha256,
    memory_mib: memoryMib,
    bill_of_materials: bill,
    provenance,
    reference_value: reference,
  };
}

function linesOf({ measurement, sha256, memoryMib }: Build, reference: string): string {
  return [
    ...registerLines(measurement),
    `sha256  ${sha256}`,
    `${measurement.bytes} bytes; an enclave of it needs at least ${memoryMib} MiB of memory`,
    `reference value for a policy version: ${reference}`,
    "",
  ].join("\n");
}

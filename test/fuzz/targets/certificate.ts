import { generateKeyPairSync } from "node:crypto";

import { parseCertificate } from "../../../attestation/certificate.ts";
import {
  AMD_PROFILE,
  INTEL_PROFILE,
  NITRO_PROFILE,
  type CertificateProfile,
} from "../../../attestation/profile.ts";
import { concat, fromHex, utf8 } from "../../../protocol/index.ts";
import { der } from "../../../host/sovereignty/custody/cms.ts";
import { derInteger } from "../../../sim/x509.ts";
import { changeDer, readDer, writeDer, type DerTree } from "../der-tree.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { DER_GROWN } from "./der.ts";

/** `parseCertificate` under each vendor's profile, on certificates of that vendor's kind. */
export const certificates: readonly Target[] = [
  certificateTarget("certificate-nitro", NITRO_PROFILE),
  certificateTarget("certificate-amd", AMD_PROFILE),
  certificateTarget("certificate-intel", INTEL_PROFILE),
];

function certificateTarget(name: string, profile: CertificateProfile): Target {
  return {
    name,
    bytesMax: profile.bytesMax,
    codes: ["TEE_CHAIN_MALFORMED"],
    stages: [
      { name: "elements", functions: ["parseCertificate"] },
      { name: "body", functions: ["parseBody", "parseDerTime"] },
      { name: "key", functions: ["parseKey"] },
      { name: "extensions", functions: ["parseExtensions"] },
      { name: "constraints", functions: ["parseBasicConstraints", "parseKeyUsage"] },
    ],
    steps: { perByte: 4, fixed: 3000 },
    allocation: { perByte: 240, fixed: 64 * 1024 },
    shortInputs: 3000,
    open: () => {
      const seeds = plainCertificates(profile);
      const trees = seeds.flatMap((seed) => readDer(seed));
      return {
        generate: (random) => changedDer(random, { seeds, trees, bytesMax: profile.bytesMax }),
        run: accepting((input) => parseCertificate(input, profile)),
        grown: {
          ...DER_GROWN,
          "many extensions": (bytes) => {
            const count = Math.ceil(bytes / 12);
            return plainCertificate(profile, {
              spki: spkiOf(profile, 0),
              extensions: Array.from({ length: count }, (_, at) =>
                extension(Uint8Array.of(0x2a, at >> 7, at & 0x7f), false, new Uint8Array(0)),
              ),
            });
          },
        },
      };
    },
  };
}

/** One of `seeds` changed as bytes or as a tree, its tail longer, or bytes of no kind. */
export function changedDer(
  random: Random,
  from: {
    readonly seeds: readonly Uint8Array[];
    readonly trees: readonly DerTree[];
    readonly bytesMax: number;
  },
): Uint8Array {
  switch (random.below(10)) {
    case 0:
      return random.bytes(random.length(from.bytesMax + 64));
    case 1:
      return concat(random.pick(from.seeds), random.bytes(random.length(from.bytesMax)));
    case 2:
    case 3:
      return mutate(random, random.pick(from.seeds), from.seeds);
    default: {
      let tree = random.pick(from.trees);
      const changes = random.pick([1, 1, 1, 1, 2, 3]);
      for (let change = 0; change < changes; change++) tree = changeDer(random, tree);
      return writeDer(tree);
    }
  }
}

/** Contents of OIDs of extensions. */
const BASIC_CONSTRAINTS = fromHex("551d13");
const KEY_USAGE = fromHex("551d0f");
const TRUE = fromHex("0101ff");

/** An extension, DER. */
export function extension(oid: Uint8Array, critical: boolean, value: Uint8Array): Uint8Array {
  return der(0x30, der(0x06, oid), critical ? TRUE : new Uint8Array(0), der(0x04, value));
}

/** Certificates of a profile's kinds: authorities and leaves, with each key, without a good signature. */
export function plainCertificates(profile: CertificateProfile): readonly Uint8Array[] {
  const authority = [
    extension(BASIC_CONSTRAINTS, true, fromHex("30060101ff020101")),
    extension(KEY_USAGE, true, fromHex("03020106")),
  ];
  const leaf = [
    extension(BASIC_CONSTRAINTS, true, fromHex("3000")),
    extension(KEY_USAGE, false, fromHex("030206c0")),
    extension(fromHex("551d0e"), false, der(0x04, utf8("an identifier"))),
  ];
  const none = [extension(fromHex("2b060104019c780104"), false, utf8("a chip"))];
  const kinds = profile.leafConstraints === "absent" ? [authority, leaf, none] : [authority, leaf];
  return profile.keys.flatMap((_, at) =>
    kinds.map((extensions) => plainCertificate(profile, { spki: spkiOf(profile, at), extensions })),
  );
}

/** A certificate of `profile` with these extensions and a signature of no one. */
export function plainCertificate(
  profile: CertificateProfile,
  parts: { readonly spki: Uint8Array; readonly extensions: readonly Uint8Array[] },
): Uint8Array {
  const [signature] = profile.signatures;
  if (signature === undefined) throw new Error("profile: expected a signature, got none");
  const name = der(0x30, der(0x31, der(0x30, fromHex("0603550403"), der(0x0c, utf8("SIMULATED")))));
  const tbs = der(
    0x30,
    fromHex("a003020102"),
    fromHex("020107"),
    signature.identifier,
    name,
    der(0x30, der(0x17, utf8("250101000000Z")), der(0x18, utf8("20550101000000Z"))),
    name,
    parts.spki,
    der(0xa3, der(0x30, ...parts.extensions)),
  );
  return der(0x30, tbs, signature.identifier, der(0x03, Uint8Array.of(0), new Uint8Array(96)));
}

/** A key of the kind at this place in the profile. An RSA key is only a number of the right size. */
export function spkiOf(profile: CertificateProfile, at: number): Uint8Array {
  const algorithm = profile.keys[at];
  if (algorithm === undefined) throw new Error("profile: expected a key, got none");
  if (algorithm.modulusBits !== null) {
    const modulus = new Uint8Array(algorithm.modulusBits / 8).fill(0xc5);
    const key = der(0x30, derInteger(modulus), derInteger(Uint8Array.of(1, 0, 1)));
    return der(0x30, algorithm.identifier, der(0x03, Uint8Array.of(0), key));
  }
  const namedCurve = profile === INTEL_PROFILE ? "P-256" : "P-384";
  return generateKeyPairSync("ec", { namedCurve }).publicKey.export({
    format: "der",
    type: "spki",
  });
}

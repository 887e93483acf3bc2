import { CpioReader } from "../../../image/archive/cpio-reader.ts";
import { encodeSignatureSection, verifyImageSignature } from "../../../image/eif/signature.ts";
import { concat, sha384, utf8 } from "../../../protocol/index.ts";
import { createSigner } from "../../image/rig.ts";
import { mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { ACCEPTED, accepting, type Target } from "../target.ts";

/** `CpioReader`: the ramdisks of an image. The first octet says in how large pieces an archive comes. */
export const cpio: Target = {
  name: "cpio",
  bytesMax: 512 * 1024,
  codes: ["TEE_IMAGE_MALFORMED", "SCHEMA_TOO_LARGE"],
  stages: [
    { name: "header", functions: ["push"] },
    { name: "entry", functions: ["expectNext", "expectEntry", "expectTarget", "#takeHeader"] },
    { name: "data", functions: ["#takePadding"] },
    { name: "end", functions: ["finish"] },
  ],
  steps: { perByte: 40, fixed: 30_000 },
  allocation: { perByte: 1600, fixed: 512 * 1024 },
  shortInputs: 3000,
  open: () => ({
    generate: (random) => concat(Uint8Array.of(random.pick([0, 0, 0, 100])), anyArchive(random)),
    run: listed,
    grown: {
      "many entries": (bytes) => concat(Uint8Array.of(0), archive(manyEntries(bytes))),
      "one long file": (bytes) => concat(Uint8Array.of(0), archive([file("a", bytes)])),
      "one long file, octet by octet": (bytes) =>
        concat(Uint8Array.of(1), archive([file("a", bytes)])),
      "long paths, octet by octet": (bytes) =>
        concat(
          Uint8Array.of(1),
          archive(
            Array.from({ length: Math.ceil(bytes / 1100) }, (_, at) =>
              file(`${String(at).padStart(6, "0")}${"p".repeat(900)}`, 0),
            ),
          ),
        ),
    },
  }),
};

function listed(input: Uint8Array): string {
  const reader = new CpioReader();
  const [piece = 0] = input;
  const step = piece === 0 ? Math.max(1, input.length) : piece;
  for (let at = 1; at < input.length; at += step) reader.push(input.subarray(at, at + step));
  reader.finish();
  return ACCEPTED;
}

interface Raw {
  readonly mode: number;
  readonly path: string;
  readonly data: Uint8Array;
  readonly device?: number;
}

function file(path: string, bytes: number): Raw {
  return { mode: 0o100644, path, data: new Uint8Array(bytes) };
}

function manyEntries(bytes: number): readonly Raw[] {
  const count = Math.min(60_000, Math.ceil(bytes / 120));
  return Array.from({ length: count }, (_, at) => file(String(at).padStart(6, "0"), 0));
}

/** Written here apart from what reads it, and of any entries. */
function archive(entries: readonly Raw[]): Uint8Array {
  const trailer: Raw = { mode: 0, path: "TRAILER!!!", data: utf8("") };
  const parts = [...entries, trailer].map(({ mode, path, data, device = 0 }, at) => {
    const numbers = [at + 1, mode, 0, 0, 1, 0, data.length, 0, 0, device, device, path.length + 1];
    const digits = [...numbers, 0].map((number) => number.toString(16).padStart(8, "0")).join("");
    return concat(padded(utf8(`070701${digits}${path}\0`)), padded(data));
  });
  return new Uint8Array(Buffer.concat(parts));
}

function padded(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));
}

const SEEDS: readonly Raw[] = [
  { mode: 0o040755, path: "bin", data: utf8("") },
  { mode: 0o100755, path: "bin/init", data: utf8("program") },
  { mode: 0o020666, path: "null", data: utf8(""), device: 3 },
  { mode: 0o120777, path: "sbin", data: utf8("bin") },
];

function anyArchive(random: Random): Uint8Array {
  const at = random.below(SEEDS.length);
  switch (random.below(6)) {
    case 0:
      return random.bytes(random.length(4096));
    case 1:
      return archive(SEEDS.toSpliced(at, 1));
    case 2:
      return archive(SEEDS.toSpliced(at, 0, file(`n${random.below(100)}`, random.below(9))));
    case 3:
      return mutate(random, archive(SEEDS));
    case 4: {
      const whole = archive(SEEDS);
      const zero = whole.findLastIndex((byte) => byte !== 0);
      return random.once(2) ? whole.subarray(0, zero - 100) : mutate(random, whole);
    }
    default:
      return archive(SEEDS);
  }
}

/** `verifyImageSignature`. */
export const imageSignature: Target = {
  name: "image-signature",
  bytesMax: 32_768,
  codes: ["TEE_IMAGE_MALFORMED", "TEE_SIGNATURE_INVALID"],
  stages: [
    { name: "section", functions: ["parseImageSignature", "readCertificate", "readIntegers"] },
    { name: "certificate", functions: ["parseCertificate"] },
    { name: "cose", functions: ["parseCose", "decoded"] },
    { name: "signature", functions: [], codes: ["TEE_SIGNATURE_INVALID"] },
  ],
  steps: { perByte: 60, fixed: 60_000 },
  allocation: { perByte: 256, fixed: 512 * 1024 },
  shortInputs: 1500,
  open: () => {
    const pcr0 = sha384(utf8("an image"));
    const signer = createSigner();
    const good = encodeSignatureSection(pcr0, signer);
    const other = encodeSignatureSection(sha384(utf8("another")), signer);
    return {
      generate: (random) => {
        if (random.once(12)) return random.bytes(random.length(2048));
        if (random.once(12)) return other;
        return random.once(20) ? good : mutate(random, good, [good, other]);
      },
      run: accepting((input) => verifyImageSignature(input, pcr0)),
      grown: {
        "a long certificate": (bytes) =>
          concat(good.subarray(0, 22), Uint8Array.of(0x99, 0xff, 0xff), new Uint8Array(bytes)),
        "bytes after the signature": (bytes) => concat(good, new Uint8Array(bytes)),
      },
    };
  },
};

import { EifMeasurer } from "../../../attestation/nitro/eif.ts";
import { concat, utf8 } from "../../../protocol/index.ts";
import { CHAIN } from "../../attestation/forge.ts";
import { SECTIONS, signatureSection, writeEif, type Section } from "../../attestation/eif-file.ts";
import { edgeInteger, mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { ACCEPTED, type Target } from "../target.ts";

/** `EifMeasurer`. The first octet says in how large pieces the file comes. */
export const eif: Target = {
  name: "eif",
  bytesMax: 512 * 1024,
  codes: ["TEE_IMAGE_MALFORMED", "SCHEMA_TOO_LARGE"],
  stages: [
    { name: "header", functions: ["parseHeader", "parseTables"] },
    { name: "sections", functions: ["push"] },
    { name: "end", functions: ["finish"] },
    { name: "signer", functions: ["signerRegister", "readCertificate", "readIntegers"] },
  ],
  steps: { perByte: 12, fixed: 10_000 },
  allocation: { perByte: 800, fixed: 512 * 1024 },
  shortInputs: 3000,
  open: () => {
    const signed = [...SECTIONS, signatureSection(CHAIN[0] ?? utf8(""))];
    return {
      generate: (random) =>
        concat(Uint8Array.of(random.once(200) ? 1 : random.pick(PIECES)), fileOf(random, signed)),
      run: measured,
      grown: {
        "one long section": (bytes) =>
          grownFile(bytes, 0, (size) => [{ type: 3, data: new Uint8Array(size) }]),
        "one long section, octet by octet": (bytes) =>
          grownFile(bytes, 1, (size) => [{ type: 3, data: new Uint8Array(size) }]),
        "a long signature": (bytes) =>
          grownFile(bytes, 0, (size) => [
            { type: 3, data: utf8("r") },
            signatureSection(new Uint8Array(Math.min(size, 20_000))),
          ]),
      },
    };
  },
};

/** Lengths of pieces; 0 is the whole file at once. */
const PIECES = [0, 0, 0, 100, 255] as const;

function measured(input: Uint8Array): string {
  const measurer = new EifMeasurer({ signer: "unverified" });
  const [piece = 0] = input;
  const step = piece === 0 ? Math.max(1, input.length) : piece;
  for (let at = 1; at < input.length; at += step) measurer.push(input.subarray(at, at + step));
  measurer.finish();
  return ACCEPTED;
}

function grownFile(
  bytes: number,
  piece: number,
  rest: (size: number) => readonly Section[],
): Uint8Array {
  return concat(
    Uint8Array.of(piece),
    writeEif({ sections: [...SECTIONS.slice(0, 2), ...rest(bytes)] }),
  );
}

function fileOf(random: Random, signed: readonly Section[]): Uint8Array {
  const sections = anySections(random, random.once(2) ? signed : SECTIONS);
  const edit = (file: DataView): void => {
    const at = random.once(2) ? random.below(548) : random.below(file.byteLength);
    if (random.once(3)) file.setUint8(at, random.below(256));
    else if (at + 8 <= file.byteLength) file.setBigUint64(at, edgeInteger(random));
  };
  switch (random.below(10)) {
    case 0:
      return random.bytes(random.length(4096));
    case 1:
      return mutate(random, writeEif({ sections }));
    case 2:
      return writeEif({ sections, count: random.below(40) });
    case 3:
      return writeEif({ sections, version: random.below(6), flags: random.below(4) });
    case 4:
    case 5:
      return writeEif({ sections, edit });
    default:
      return writeEif({ sections });
  }
}

function anySections(random: Random, plain: readonly Section[]): readonly Section[] {
  const at = random.below(plain.length);
  const chosen = plain[at];
  if (chosen === undefined) return plain;
  switch (random.below(8)) {
    case 0:
      return plain.toSpliced(at, 1);
    case 1:
      return plain.toSpliced(at, 0, chosen);
    case 2:
      return plain.with(at, { ...chosen, type: random.below(8) });
    case 3:
      return plain.with(at, { ...chosen, flags: random.below(3) });
    case 4:
    case 5:
      return plain.with(at, { ...chosen, data: mutate(random, chosen.data) });
    default:
      return plain;
  }
}

import { parseCertificate } from "../../../attestation/certificate.ts";
import { parseCrl } from "../../../attestation/crl.ts";
import { parseTdxQuote } from "../../../attestation/index.ts";
import { INTEL_PROFILE } from "../../../attestation/profile.ts";
import { parsePckChain, parsePckExtension } from "../../../attestation/tdx/pck.ts";
import { base64, concat, fromHex, utf8 } from "../../../protocol/index.ts";
import { der } from "../../../host/sovereignty/custody/cms.ts";
import { derInteger } from "../../../sim/x509.ts";
import { readDer } from "../der-tree.ts";
import { edgeInteger, mutate } from "../mutate.ts";
import type { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { changedDer, extension, plainCertificates } from "./certificate.ts";
import { DER_GROWN } from "./der.ts";

const QUOTE_BYTES_MAX = 16 * 1024;

/** `attestation/tdx/quote.ts`: shape only. */
export const tdxQuote: Target = {
  name: "tdx-quote",
  bytesMax: QUOTE_BYTES_MAX,
  codes: ["TEE_DOCUMENT_MALFORMED", "TEE_DOCUMENT_TOO_LARGE", "TEE_PLATFORM_REFUSED"],
  stages: [
    { name: "size", functions: ["parseTdxQuote"] },
    { name: "header", functions: ["parseHeader", "parseBodyHead"] },
    { name: "signature data", functions: ["sized"] },
    { name: "QE report and certification data", functions: ["parseSignatureData", "typed"] },
  ],
  steps: { perByte: 1, fixed: 200 },
  allocation: { perByte: 16, fixed: 16 * 1024 },
  shortInputs: 20_000,
  open: () => ({
    generate: changedQuote,
    run: accepting(parseTdxQuote),
    grown: {
      "a quote with padding": (bytes) =>
        concat(
          quote({ version: 4, chain: utf8("pem"), auth: new Uint8Array(32) }),
          new Uint8Array(bytes),
        ),
      "a long chain": (bytes) =>
        quote({ version: 5, chain: new Uint8Array(bytes), auth: new Uint8Array(32) }),
    },
  }),
};

const VENDOR = fromHex("939a7233f79c4ca9940a0db3957f0607");

function little(size: number, value: number | bigint): Uint8Array {
  const wide = new DataView(new ArrayBuffer(8));
  wide.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), true);
  return new Uint8Array(wide.buffer, 0, size);
}

/** What goes into a quote; lengths are announced truly unless `lie` says otherwise. */
interface QuoteParts {
  readonly version: 4 | 5;
  readonly chain: Uint8Array;
  readonly auth: Uint8Array;
  /** Added to the announced length at one of four places. */
  readonly lie?: { readonly place: number; readonly by: number };
  readonly filler?: (count: number) => Uint8Array;
}

/** A quote in TLV parts, unsigned. */
function quote({ version, chain, auth, lie, filler }: QuoteParts): Uint8Array {
  const fill = filler ?? ((count: number): Uint8Array => new Uint8Array(count));
  const off = (place: number): number => (lie?.place === place ? lie.by : 0);
  const header = concat(
    little(2, version),
    little(2, 2),
    little(4, 0x81),
    fill(4),
    VENDOR,
    fill(20),
  );
  const isLater = version === 5;
  const bodySize = isLater ? 648 : 584;
  const body = concat(
    isLater ? concat(little(2, 3), little(4, bodySize + off(0))) : utf8(""),
    fill(bodySize),
  );
  const inner = concat(
    fill(384 + 64),
    concat(little(2, auth.length + off(1)), auth),
    concat(little(2, 5), little(4, chain.length + off(2)), chain),
  );
  const data = concat(fill(128), little(2, 6), little(4, inner.length + off(3)), inner);
  return concat(header, body, little(4, data.length + off(4)), data);
}

function changedQuote(random: Random): Uint8Array {
  const filler = (count: number): Uint8Array => random.bytes(count);
  const lie = {
    place: random.below(5),
    by: random.once(4) ? Number(edgeInteger(random) & 0xffffffffn) : random.between(-3, 3),
  };
  const plain = {
    version: random.pick([4, 5] as const),
    chain: random.bytes(random.length(4096)),
    auth: random.bytes(random.once(2) ? 32 : random.length(1024)),
    filler,
  };
  switch (random.below(8)) {
    case 0:
      return random.bytes(random.length(QUOTE_BYTES_MAX + 64));
    case 1:
      return concat(quote(plain), random.bytes(random.length(QUOTE_BYTES_MAX)));
    case 2:
      return mutate(random, quote(plain));
    case 3: {
      const whole = quote(plain);
      return concat(mutate(random, whole.subarray(0, 54)), whole.subarray(54));
    }
    case 4:
      return quote(plain);
    default:
      return quote({ ...plain, lie });
  }
}

/** `attestation/crl.ts` under Intel's profile. */
export const crl: Target = {
  name: "crl",
  bytesMax: 256 * 1024,
  codes: ["TEE_COLLATERAL_MALFORMED"],
  stages: [
    { name: "elements", functions: ["parseCrl", "parseList"] },
    { name: "times", functions: ["parseDerTime"] },
    { name: "entries", functions: ["parseEntry"] },
    { name: "extensions", functions: ["expectNoCritical"] },
  ],
  steps: { perByte: 4, fixed: 2000 },
  allocation: { perByte: 240, fixed: 64 * 1024 },
  shortInputs: 5000,
  open: () => {
    const seeds = [plainCrl(0), plainCrl(1), plainCrl(5), plainCrl(40)];
    const trees = seeds.flatMap((seed) => readDer(seed));
    return {
      generate: (random) => changedDer(random, { seeds, trees, bytesMax: 8192 }),
      run: accepting((input) => parseCrl(input, INTEL_PROFILE)),
      grown: { ...DER_GROWN, "many entries": (bytes) => plainCrl(Math.ceil(bytes / 24)) },
    };
  },
};

function plainCrl(entries: number): Uint8Array {
  const [signature] = INTEL_PROFILE.signatures;
  const algorithm = signature?.identifier ?? utf8("");
  const time = der(0x17, utf8("250101000000Z"));
  const reason = der(0x30, extension(fromHex("551d15"), false, fromHex("0a0101")));
  const rows = Array.from({ length: entries }, (_, at) =>
    der(
      0x30,
      derInteger(Uint8Array.of(1, at >> 16, at >> 8, at)),
      time,
      at % 3 === 0 ? reason : utf8(""),
    ),
  );
  const numbers = extension(fromHex("551d14"), false, fromHex("020101"));
  const tbs = sequence(
    fromHex("020101"),
    algorithm,
    der(0x30, der(0x31, der(0x30, fromHex("0603550403"), der(0x0c, utf8("SIMULATED"))))),
    time,
    time,
    entries === 0 ? utf8("") : sequence(...rows),
    der(0xa0, der(0x30, numbers)),
  );
  return sequence(tbs, algorithm, der(0x03, Uint8Array.of(0), new Uint8Array(70)));
}

/** A sequence of any length: `der` of the simulator stops at 64 KiB. */
function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  const content = concat(...parts);
  if (content.length < 0x10000) return der(0x30, content);
  const { length } = content;
  return concat(Uint8Array.of(0x30, 0x83, length >> 16, length >> 8, length), content);
}

/** `parsePckChain`: three certificates in PEM. */
export const pckChain: Target = {
  name: "pck-chain",
  bytesMax: QUOTE_BYTES_MAX,
  codes: ["TEE_CHAIN_MALFORMED"],
  stages: [
    { name: "text", functions: ["parsePckChain", "textOf"] },
    { name: "block", functions: ["parseBlock"] },
  ],
  steps: { perByte: 1, fixed: 200 },
  allocation: { perByte: 16, fixed: 16 * 1024 },
  shortInputs: 10_000,
  open: () => {
    const blocks = plainCertificates(INTEL_PROFILE).map(pem);
    return {
      generate: (random) => {
        const count = random.once(4) ? random.below(6) : 3;
        const chosen = Array.from({ length: count }, () => random.pick(blocks));
        const end = random.once(4) ? random.bytes(random.below(4)) : utf8(random.pick(["", "\0"]));
        const text = concat(...chosen, end);
        if (random.once(8)) return random.bytes(random.length(4096));
        return random.once(2) ? mutate(random, text, blocks) : text;
      },
      run: accepting(parsePckChain),
      grown: {
        "empty blocks": (bytes) =>
          utf8(
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".repeat(
              Math.ceil(bytes / 53),
            ),
          ),
        "line ends": (bytes) =>
          concat(utf8("-----BEGIN CERTIFICATE-----\n"), new Uint8Array(bytes).fill(10)),
        dashes: (bytes) => new Uint8Array(bytes).fill(0x2d),
      },
    };
  },
};

function pem(certificate: Uint8Array): Uint8Array {
  const lines = base64(certificate).replaceAll(/.{1,64}/g, "$&\n");
  return utf8(`-----BEGIN CERTIFICATE-----\n${lines}-----END CERTIFICATE-----\n`);
}

/** `parsePckExtension` of a certificate: the input is the extension's value. */
export const pckExtension: Target = {
  name: "pck-extension",
  bytesMax: INTEL_PROFILE.bytesMax,
  codes: ["TEE_CHAIN_MALFORMED"],
  stages: [
    { name: "elements", functions: ["parsePckExtension"] },
    { name: "pairs", functions: ["parseFields"] },
    { name: "values", functions: ["octets", "integer"] },
  ],
  steps: { perByte: 4, fixed: 3000 },
  allocation: { perByte: 240, fixed: 64 * 1024 },
  shortInputs: 10_000,
  open: () => {
    const seeds = [plainPckExtension()];
    const trees = seeds.flatMap((seed) => readDer(seed));
    const [plain = utf8("")] = plainCertificates(INTEL_PROFILE);
    const certificate = parseCertificate(plain, INTEL_PROFILE);
    return {
      generate: (random) => changedDer(random, { seeds, trees, bytesMax: 4096 }),
      run: accepting((input) =>
        parsePckExtension({ ...certificate, extensions: new Map([["2a864886f84d010d01", input]]) }),
      ),
      grown: {
        ...DER_GROWN,
        "many pairs": (bytes) =>
          sequence(
            ...Array.from({ length: Math.ceil(bytes / 10) }, (_, at) =>
              der(0x30, der(0x06, Uint8Array.of(at >> 8, at)), fromHex("0401ff")),
            ),
          ),
        "a long integer": (bytes) => plainPckExtension(new Uint8Array(bytes).fill(1)),
      },
    };
  },
};

function plainPckExtension(pceSvn: Uint8Array = Uint8Array.of(13)): Uint8Array {
  const sgx = "2a864886f84d010d01";
  const pair = (oid: string, value: Uint8Array): Uint8Array =>
    der(0x30, der(0x06, fromHex(`${sgx}${oid}`)), value);
  const components = Array.from({ length: 16 }, (_, at) =>
    pair(`02${(at + 1).toString(16).padStart(2, "0")}`, derInteger(Uint8Array.of(at))),
  );
  return sequence(
    pair("01", der(0x04, new Uint8Array(16))),
    pair(
      "02",
      sequence(
        ...components,
        pair("0211", der(0x02, pceSvn)),
        pair("0212", der(0x04, new Uint8Array(16))),
      ),
    ),
    pair("03", der(0x04, new Uint8Array(2))),
    pair("04", der(0x04, new Uint8Array(6))),
    pair("05", fromHex("0a0101")),
  );
}

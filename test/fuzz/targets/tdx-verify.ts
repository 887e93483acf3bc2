import { verifyTdxQuote } from "../../../attestation/index.ts";
import { concat, hex } from "../../../protocol/index.ts";
import { der } from "../../../host/sovereignty/custody/cms.ts";
import {
  QE_IDENTITY,
  TCB_INFO,
  TDX_COLLATERAL,
  forgeCrl,
  forgeQeIdentity,
  forgeRootCrl,
  forgeStatement,
} from "../../attestation/tdx-collateral.ts";
import {
  BINDING,
  DAY,
  LEAF_EXTENSIONS,
  TDX_ANCHOR,
  TDX_CHAIN,
  TDX_NOW,
  TDX_ROOT,
  TDX_SIGNER,
  forgeIntel,
  forgeQuote,
  pckExtension,
} from "../../attestation/tdx-forge.ts";
import { changeDer, readDer, writeDer } from "../der-tree.ts";
import { changeJson } from "../json-tree.ts";
import { mutate } from "../mutate.ts";
import { packParts, unpackParts } from "../parts.ts";
import { Random } from "../random.ts";
import { accepting, type Target } from "../target.ts";
import { PATH_CODES, PATH_STAGES, alternating, changedCertificate } from "./path.ts";

const NONE = new Uint8Array(0);
/** How many forged variants of each part there are. */
const VARIANTS = 48;

/** The whole of `verifyTdxQuote`: quote, TCB info, QE identity, signing chain and both lists, all in parts. */
export const tdxVerify: Target = {
  name: "tdx-verify",
  bytesMax: 32 * 1024,
  codes: [
    "TEE_DOCUMENT_MALFORMED",
    "TEE_DOCUMENT_TOO_LARGE",
    "TEE_PLATFORM_REFUSED",
    ...PATH_CODES,
    "TEE_COLLATERAL_MALFORMED",
    "TEE_COLLATERAL_EXPIRED",
    "TEE_CERTIFICATE_REVOKED",
    "TEE_SIGNATURE_INVALID",
    "TEE_IDENTITY_MISMATCH",
    "TEE_REPORT_DATA_MISMATCH",
  ],
  stages: [
    { name: "quote", functions: ["parseTdxQuote"] },
    { name: "PCK chain", functions: ["parsePckChain"] },
    ...PATH_STAGES,
    { name: "PCK extension", functions: ["parsePckExtension"] },
    { name: "collateral", functions: ["verifyCollateralBeside", "parseStatement", "parseCrl"] },
    { name: "collateral bodies", functions: ["parseBody", "parseJson"] },
    { name: "current and not revoked", functions: ["verifyCurrent", "verifyPckPath"] },
    { name: "signatures", functions: ["verifySignatures"] },
    { name: "platform and enclave", functions: ["verifyEndorsed"] },
    { name: "binding", functions: ["verifyBinding"] },
  ],
  steps: { perByte: 4, fixed: 20_000 },
  allocation: { perByte: 128, fixed: 512 * 1024 },
  shortInputs: 2000,
  open: () => {
    const plain = partsOf(forgeQuote());
    const variants = variantsOf();
    const at = alternating(TDX_NOW);
    return {
      generate: (random) => changedParts(random, plain, variants),
      run: accepting((input) => {
        const [document, tcbInfo, qeIdentity, pckCrl, rootCrl, ...tcbSigningChain] =
          unpackParts(input);
        return verifyTdxQuote(
          {
            document: document ?? NONE,
            collateral: {
              tcbInfo: tcbInfo ?? NONE,
              qeIdentity: qeIdentity ?? NONE,
              pckCrl: pckCrl ?? NONE,
              rootCrl: rootCrl ?? NONE,
              tcbSigningChain,
            },
            binding: BINDING,
          },
          [TDX_ANCHOR],
          at(input),
        );
      }),
      grown: {
        "a long quote": (bytes) =>
          packParts(plain.with(0, forgeQuote({ trailing: new Uint8Array(bytes) }))),
        "many revoked": (bytes) =>
          packParts(
            plain.with(
              3,
              forgeCrl({
                serials: Array.from(
                  { length: Math.ceil(Math.min(bytes, 60_000) / 40) },
                  (_, serial) => Uint8Array.of(1, serial >> 8, serial),
                ),
              }),
            ),
          ),
        "many advisories": (bytes) =>
          packParts(
            plain.with(
              2,
              forgeQeIdentity({
                advisories: Array.from({ length: Math.ceil(bytes / 8) }, () => "advis"),
              }),
            ),
          ),
      },
    };
  },
};

function partsOf(quote: Uint8Array): readonly Uint8Array[] {
  const { tcbInfo, qeIdentity, pckCrl, rootCrl } = TDX_COLLATERAL;
  return [quote, tcbInfo, qeIdentity, pckCrl, rootCrl, TDX_ROOT, TDX_SIGNER];
}

/** Well-signed variants of the first five parts: what they say is changed, not only their bytes. */
function variantsOf(): readonly (readonly Uint8Array[])[] {
  const each = (make: (random: Random) => Uint8Array): readonly Uint8Array[] =>
    Array.from({ length: VARIANTS }, (_, at) => make(new Random(1, "tdx-variants", at)));
  return [
    each(quoteVariant),
    each((random) => forgeStatement("tcbInfo", JSON.stringify(changeJson(random, TCB_INFO)))),
    each((random) =>
      forgeStatement("enclaveIdentity", JSON.stringify(changeJson(random, QE_IDENTITY))),
    ),
    each((random) => forgeCrl(listVariant(random))),
    each((random) => forgeRootCrl(listVariant(random))),
  ];
}

function listVariant(random: Random): Parameters<typeof forgeCrl>[0] {
  const days = random.pick([3, 3, 3, -1]);
  return {
    serials: Array.from({ length: random.below(20) }, () => random.bytes(random.between(1, 20))),
    thisUpdateMs: TDX_NOW - days * DAY,
    ...(random.once(6) ? { nextUpdateMs: TDX_NOW - DAY } : {}),
  };
}

/** Offsets of what `verifyTdxQuote` looks at in a body and in a QE report. */
const BODY_AT = [0, 1, 16, 64, 112, 120, 128, 136, 520] as const;
const QE_AT = [16, 48, 50, 128, 256, 258, 320] as const;

function quoteVariant(random: Random): Uint8Array {
  const octets = hex(random.bytes(random.between(1, 4)));
  const version = random.pick([4, 5] as const);
  switch (random.below(5)) {
    case 0:
      return forgeQuote({ version, body: { [random.pick(BODY_AT)]: octets } });
    case 1:
      return forgeQuote({ version, qeReport: { [random.pick(QE_AT)]: octets } });
    case 2:
      return forgeQuote({ version, authData: random.bytes(random.below(64)) });
    case 3:
      return forgeQuote({ version, chain: TDX_CHAIN.with(2, pckVariant(random)) });
    default:
      return forgeQuote({ version, trailing: random.bytes(random.below(64)) });
  }
}

/** A PCK certificate, well signed, whose extension has something changed. */
function pckVariant(random: Random): Uint8Array {
  const plain = pckExtension();
  const [tree] = readDer(plain.value);
  const value = tree === undefined ? der(0x30) : writeDer(changeDer(random, tree));
  return forgeIntel("pck", { extensions: [...LEAF_EXTENSIONS, { ...plain, value }] });
}

/** A quote whose certificates have something changed, which shows before any signature is looked at. */
function forgedPem(random: Random, [quote = NONE]: readonly Uint8Array[]): Uint8Array {
  const from = quote.length - random.length(4000) - 1;
  return concat(quote.subarray(0, from), mutate(random, quote.subarray(from)));
}

function changedParts(
  random: Random,
  plain: readonly Uint8Array[],
  variants: readonly (readonly Uint8Array[])[],
): Uint8Array {
  const at = random.below(plain.length);
  const part = plain[at] ?? NONE;
  switch (random.below(14)) {
    case 0:
    case 10:
      return random.bytes(random.length(4096));
    case 1:
    case 11:
      return mutate(random, packParts(plain));
    case 12:
    case 13:
      return packParts(plain.with(0, forgedPem(random, plain)));
    case 2:
    case 3:
      return packParts(plain.with(0, mutate(random, plain[0] ?? NONE)));
    case 4:
      return packParts(plain.with(at, mutate(random, part)));
    case 5:
      return packParts(random.once(2) ? plain.toSpliced(at, 1) : plain.toSpliced(at, 0, part));
    case 6:
      return packParts(
        plain.with(5 + random.below(2), changedCertificate(random, random.pick(TDX_CHAIN))),
      );
    case 7:
      return packParts(plain.with(0, concat(random.pick(variants[0] ?? [NONE]), random.bytes(4))));
    default:
      return packParts(
        plain.map((one, place) => {
          const pool = variants[place];
          return pool === undefined || !random.once(3) ? one : random.pick(pool);
        }),
      );
  }
}

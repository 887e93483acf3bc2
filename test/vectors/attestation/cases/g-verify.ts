import { hex } from "../../../../protocol/index.ts";
import { TCB_INFO, forgeQeIdentity, forgeTcbInfo } from "../../../attestation/tdx-collateral.ts";
import { TDX_KEYS, forgeQuote } from "../../../attestation/tdx-forge.ts";
import { ANY, TDX_V5, flip, type TdxCase } from "./g-case.ts";

const FORGED = { stage: "verify", code: "TEE_SIGNATURE_INVALID" } as const;
const UNLISTED = { stage: "verify", code: "TEE_IDENTITY_MISMATCH" } as const;
const QUOTE = forgeQuote();
/** Where the parts of a version 4 quote with a TDX 1.0 report are. */
const AT = {
  mrTd: 48 + 136,
  reportData: 48 + 520,
  signature: 636,
  point: 700,
  qeReport: 770,
} as const;
const UNBOUND = { "binding/nonce": null, "binding/userData": null, "binding/publicKey": null };

/** Evidence that is refused because it is not authentic, or not of what collateral lists. */
export function verifyCases(): readonly TdxCase[] {
  return [...signatureCases(), ...enclaveCases(), ...moduleCases(), ...bindingCases()];
}

function signatureCases(): readonly TdxCase[] {
  const zeros = new Uint8Array(64);
  const withAt = (at: number, bytes: Uint8Array): Uint8Array => {
    const copy = QUOTE.slice();
    copy.set(bytes, at);
    return copy;
  };
  return [
    {
      title: "a bit of the signature flipped",
      ...FORGED,
      check: "tdx-quote-signature",
      document: flip(QUOTE, AT.signature),
    },
    {
      title: "a signature of zeros",
      ...FORGED,
      check: "tdx-quote-signature",
      document: withAt(AT.signature, zeros),
    },
    {
      title: "a bit of the QE's user data in the header flipped",
      ...FORGED,
      check: "tdx-quote-signature",
      document: flip(QUOTE, 30),
    },
    {
      title: "a bit of MRTD flipped",
      ...FORGED,
      check: "tdx-quote-signature",
      policy: { measurements: measurementsOf({ mrtd: `a1${"a0".repeat(47)}` }) },
      document: flip(QUOTE, AT.mrTd),
    },
    {
      title: "another attestation key, with a quote it signed",
      ...FORGED,
      check: "tdx-key-bound",
      document: forgeQuote({ attestationKey: TDX_KEYS.stranger, qeReport: boundTo(QUOTE) }),
    },
    {
      title: "other QE authentication data than the QE bound",
      ...FORGED,
      check: "tdx-key-bound",
      document: forgeQuote({ authData: new Uint8Array(32), qeReport: boundTo(QUOTE) }),
    },
    {
      title: "QE report data whose second half is not zero",
      ...FORGED,
      check: "tdx-key-bound",
      document: forgeQuote({ qeReport: { 383: "01" } }),
    },
    {
      title: "a QE report that the PCK did not sign",
      ...FORGED,
      check: "tdx-qe-report-signature",
      document: forgeQuote({ pckKey: TDX_KEYS.stranger.privateKey }),
    },
    {
      title: "a QE report that the PCK's issuer signed",
      ...FORGED,
      check: "tdx-qe-report-signature",
      document: forgeQuote({ pckKey: TDX_KEYS.ca.privateKey }),
    },
    {
      title: "a bit of MRENCLAVE in the QE report flipped",
      ...FORGED,
      check: "tdx-qe-report-signature",
      document: flip(QUOTE, AT.qeReport + 64),
    },
    {
      title: "an attestation key that is no point of the curve",
      ...FORGED,
      check: null,
      document: flip(QUOTE, AT.point),
    },
    {
      title: "r and s of the signature swapped",
      ...FORGED,
      check: "tdx-quote-signature",
      document: withAt(
        AT.signature,
        new Uint8Array([
          ...QUOTE.subarray(AT.signature + 32, AT.signature + 64),
          ...QUOTE.subarray(AT.signature, AT.signature + 32),
        ]),
      ),
    },
  ];
}

/** The QE report's data of another quote. */
function boundTo(quote: Uint8Array): Readonly<Record<number, string>> {
  return { 320: hex(quote.subarray(AT.qeReport + 320, AT.qeReport + 384)) };
}

function measurementsOf(changes: Readonly<Record<string, string>>) {
  const registers = ["mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"].map(
    (name, index) => [name, `a${index}`.repeat(48)] as const,
  );
  const window = { validFromMs: 0, validUntilMs: 2_000_000_000_000 };
  return [{ ...Object.fromEntries(registers), ...changes, ...window }];
}

/** Quoting enclaves that Intel does not list. */
function enclaveCases(): readonly TdxCase[] {
  const unmasked = forgeQeIdentity({ attributesMask: "F9FFFFFFFFFFFFFF0000000000000000" });
  return [
    {
      title: "a quoting enclave under debug, with an identity that does not look at it",
      ...UNLISTED,
      check: "tdx-qe-debug",
      document: forgeQuote({ qeReport: { 48: "17" } }),
      collateral: { qeIdentity: unmasked },
    },
    {
      title: "a quoting enclave with a launch key",
      ...UNLISTED,
      check: "tdx-qe-attributes",
      document: forgeQuote({ qeReport: { 48: "35" } }),
    },
    {
      title: "a quoting enclave of another signer",
      ...UNLISTED,
      check: "tdx-qe-signer",
      document: forgeQuote({ qeReport: { 128: "dd" } }),
    },
    {
      title: "a quoting enclave of another product",
      ...UNLISTED,
      check: "tdx-qe-product",
      document: forgeQuote({ qeReport: { 256: "0100" } }),
    },
    {
      title: "a quoting enclave with another MISCSELECT",
      ...UNLISTED,
      check: "tdx-qe-misc-select",
      document: forgeQuote({ qeReport: { 16: "01000000" } }),
    },
    {
      title: "a quoting enclave with another MISCSELECT in its last octet",
      ...UNLISTED,
      check: "tdx-qe-misc-select",
      document: forgeQuote({ qeReport: { 16: "00000080" } }),
    },
  ];
}

/** TDX modules that Intel does not list. */
function moduleCases(): readonly TdxCase[] {
  const [third, first] = TCB_INFO.tdxModuleIdentities;
  return [
    {
      title: "a module of a version without an identity",
      ...UNLISTED,
      check: "tdx-module-version",
      document: forgeQuote({ body: { 0: "06020300" } }),
    },
    {
      title: "TCB info without module identities for a module with a version",
      ...UNLISTED,
      check: "tdx-module-version",
      base: TDX_V5,
      collateral: { tcbInfo: forgeTcbInfo({ tdxModuleIdentities: undefined }) },
    },
    {
      title: "a module of another signer",
      ...UNLISTED,
      check: "tdx-module-signer",
      document: forgeQuote({ body: { 64: "01" } }),
    },
    {
      title: "a module of TDX 1.0 of another signer",
      ...UNLISTED,
      check: "tdx-module-signer",
      document: forgeQuote({ body: { 0: "06000300", 111: "01" } }),
    },
    {
      title: "a module whose identity has another signer than tdxModule",
      ...UNLISTED,
      check: "tdx-module-signer",
      collateral: {
        tcbInfo: forgeTcbInfo({
          tdxModuleIdentities: [third, { ...first, mrsigner: "01".repeat(48) }],
        }),
      },
    },
    {
      title: "a module with attributes",
      ...UNLISTED,
      check: "tdx-module-attributes",
      document: forgeQuote({ body: { 112: "01" } }),
    },
  ];
}

function bindingCases(): readonly TdxCase[] {
  const mismatch = {
    stage: "verify",
    code: "TEE_REPORT_DATA_MISMATCH",
    check: "tdx-binding",
  } as const;
  const nonce = "hex:61206e6f6e6365206f66206f746865722073657373696f6e";
  return [
    {
      title: "a nonce beside the quote that is not bound in it",
      ...mismatch,
      swap: { "binding/nonce": nonce },
      policy: { nonce: ANY },
    },
    {
      title: "a public key beside the quote that is not bound in it",
      ...mismatch,
      swap: { "binding/publicKey": "hex:00" },
      policy: { publicKey: ANY },
    },
    {
      title: "user data left out beside the quote",
      ...mismatch,
      swap: { "binding/userData": null },
      policy: { userData: ANY },
    },
    {
      title: "another REPORTDATA, signed",
      ...mismatch,
      document: forgeQuote({ body: { 520: "00" } }),
      policy: { tdx: { reportData: ANY } },
    },
    {
      title: "no values beside the quote for a policy that expects a nonce",
      stage: "appraise",
      code: "TEE_NONCE_MISMATCH",
      check: "tdx-nonce-absent",
      swap: UNBOUND,
      policy: { userData: ANY, publicKey: ANY },
    },
    {
      title: "a replay without the time it was recorded at",
      stage: "verify",
      code: "TEE_POLICY_EMPTY",
      check: null,
      at: { mode: "replay" },
    },
  ];
}

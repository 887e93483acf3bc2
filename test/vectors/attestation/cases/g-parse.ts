import { hex } from "../../../../protocol/index.ts";
import { pemOf, TDX_CHAIN, forgeBody, forgeQuote } from "../../../attestation/tdx-forge.ts";
import { TDX_V5, type TdxCase } from "./g-case.ts";

const MALFORMED = { stage: "parse", code: "TEE_DOCUMENT_MALFORMED" } as const;
const REFUSED = { stage: "parse", code: "TEE_PLATFORM_REFUSED" } as const;
const BAD_CHAIN = { stage: "verify", code: "TEE_CHAIN_MALFORMED" } as const;
const QUOTE_BYTES_MAX = 16 * 1024;
const QUOTE = forgeQuote();
const PEM = pemOf(TDX_CHAIN);

/** Quotes that have not the shape of one. */
export function parseCases(): readonly TdxCase[] {
  return [...headerCases(), ...sizeCases(), ...pemCases()];
}

function headerCases(): readonly TdxCase[] {
  const version = { ...MALFORMED, check: "tdx-version", base: TDX_V5 } as const;
  const header = (patch: Readonly<Record<number, string>>) =>
    forgeQuote({ version: 5, header: patch });
  return [
    { title: "version 6", ...version, document: header({ 0: "0600" }) },
    { title: "version 5 in the other byte order", ...version, document: header({ 0: "0005" }) },
    {
      title: "version 3, which is an SGX quote's",
      ...REFUSED,
      check: "tdx-version",
      base: TDX_V5,
      document: header({ 0: "0300" }),
    },
    {
      title: "TEE type 0, which is SGX",
      ...REFUSED,
      check: "tdx-tee-type",
      document: forgeQuote({ header: { 4: "00000000" } }),
    },
    {
      title: "TEE type 0 in version 5",
      ...REFUSED,
      check: "tdx-tee-type",
      base: TDX_V5,
      document: header({ 4: "00000000" }),
    },
    {
      title: "an unknown TEE type",
      ...MALFORMED,
      check: "tdx-tee-type",
      document: forgeQuote({ header: { 4: "82000000" } }),
    },
    {
      title: "attestation key type 3 (ECDSA with P-384)",
      ...MALFORMED,
      check: "tdx-key-type",
      document: forgeQuote({ header: { 2: "0300" } }),
    },
    {
      title: "a quoting enclave of another vendor",
      ...MALFORMED,
      check: "tdx-qe-vendor",
      document: forgeQuote({ header: { 12: "939a7233f79c4ca9940a0db3957f0608" } }),
    },
    {
      title: "an unknown body type",
      ...MALFORMED,
      check: "tdx-body-type",
      base: TDX_V5,
      document: forgeQuote({ version: 5, bodyHead: "040088020000" }),
    },
    {
      title: "the body type of an SGX enclave report",
      ...MALFORMED,
      check: "tdx-body-type",
      base: TDX_V5,
      document: forgeQuote({ version: 5, bodyHead: "010088020000" }),
    },
    {
      title: "a TDX 1.5 body with the size of TDX 1.0",
      ...MALFORMED,
      check: "tdx-body-size",
      base: TDX_V5,
      document: forgeQuote({ version: 5, bodyHead: "030048020000" }),
    },
    {
      title: "a TDX 1.0 body with the size of TDX 1.5",
      ...MALFORMED,
      check: "tdx-body-size",
      base: TDX_V5,
      policy: { tdx: { mrServiceTd: { unchecked: "a TDX 1.0 report has none" } } },
      document: forgeQuote({ version: 5, bodyHead: "020088020000", bodyBytes: forgeBody("1.0") }),
    },
  ];
}

function sizeCases(): readonly TdxCase[] {
  const byte = new Uint8Array(1);
  const none = new Uint8Array(0);
  return [
    {
      title: "one byte over the limit",
      stage: "parse",
      code: "TEE_DOCUMENT_TOO_LARGE",
      check: "tdx-size",
      document: forgeQuote({ trailing: new Uint8Array(QUOTE_BYTES_MAX + 1 - QUOTE.length) }),
    },
    {
      title: "QE report certification data of type 5",
      ...MALFORMED,
      check: "tdx-certification-type",
      document: forgeQuote({ types: [5, 5] }),
    },
    {
      title: "a certificate chain of type 3 (encrypted PPID)",
      ...MALFORMED,
      check: "tdx-certification-type",
      document: forgeQuote({ types: [6, 3] }),
    },
    {
      title: "a byte after the QE report's data, within the signature data",
      ...MALFORMED,
      check: "tdx-certification-end",
      document: forgeQuote({ slack: [byte, none] }),
    },
    {
      title: "a byte after the certificate chain, within the QE report's data",
      ...MALFORMED,
      check: "tdx-certification-end",
      document: forgeQuote({ slack: [none, byte] }),
    },
    { title: "the last byte cut off", ...MALFORMED, check: null, document: QUOTE.slice(0, -1) },
    { title: "a header alone", ...MALFORMED, check: null, document: QUOTE.slice(0, 48) },
    { title: "no bytes", ...MALFORMED, check: null, document: none },
    {
      title: "signature data of 4 GiB",
      ...MALFORMED,
      check: null,
      document: withHex(QUOTE, 632, "ffffffff"),
    },
    {
      title: "QE authentication data of 64 KiB",
      ...MALFORMED,
      check: null,
      document: withHex(QUOTE, 636 + 128 + 6 + 384 + 64, "ffff"),
    },
  ];
}

function pemCases(): readonly TdxCase[] {
  const text = Buffer.from(PEM).toString("latin1");
  const pem = (changed: string): Uint8Array =>
    forgeQuote({ pem: new Uint8Array(Buffer.from(changed, "latin1")) });
  return [
    {
      title: "text after the certificates",
      ...BAD_CHAIN,
      check: "tdx-pem-end",
      document: pem(`${text}#`),
    },
    {
      title: "two zero bytes after the certificates",
      ...BAD_CHAIN,
      check: "tdx-pem-end",
      document: pem(`${text}\0`),
    },
    {
      title: "another label over the PCK certificate",
      ...BAD_CHAIN,
      check: "tdx-pem-label",
      document: pem(text.replace("BEGIN CERTIFICATE", "BEGIN-CERTIFICATE")),
    },
    {
      title: "a blank line between two certificates",
      ...BAD_CHAIN,
      check: null,
      document: pem(text.replace("-----\n-----BEGIN", "-----\n\n-----BEGIN")),
    },
    {
      title: "a space in the base64 of a certificate",
      ...BAD_CHAIN,
      check: null,
      document: pem(text.replace("MII", "MI I")),
    },
    {
      title: "bytes that are no text",
      ...BAD_CHAIN,
      check: null,
      document: pem(text.replace("MII", "MI\xff")),
    },
    {
      title: "no certificates at all",
      ...BAD_CHAIN,
      check: null,
      document: pem(""),
    },
    {
      title: "the root missing",
      ...BAD_CHAIN,
      check: null,
      document: forgeQuote({ chain: TDX_CHAIN.slice(1) }),
    },
    {
      title: "the root twice",
      ...BAD_CHAIN,
      check: null,
      document: forgeQuote({ chain: [...TDX_CHAIN.slice(0, 1), ...TDX_CHAIN] }),
    },
  ];
}

function withHex(bytes: Uint8Array, at: number, digits: string): Uint8Array {
  const copy = bytes.slice();
  copy.set(Buffer.from(digits, "hex"), at);
  if (hex(copy) === hex(bytes)) throw new Error("bytes: expected a change, got none");
  return copy;
}

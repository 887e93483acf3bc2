import { fromHex } from "../../../../protocol/index.ts";
import { der } from "../../../../host/sovereignty/custody/cms.ts";
import { basicConstraints, keyUsage } from "../../../../sim/x509.ts";
import {
  TDX_COLLATERAL,
  forgeCrl,
  forgeQeIdentity,
  forgeRootCrl,
  forgeStatement,
  QE_IDENTITY,
  TCB_INFO,
} from "../../../attestation/tdx-collateral.ts";
import {
  CA_NAME,
  LEAF_EXTENSIONS,
  SIGNER_NAME,
  TDX_CHAIN,
  TDX_KEYS,
  TDX_NOW,
  TDX_ROOT,
  authority,
  forgeIntel,
  forgeQuote,
  integer,
  octetString,
  pckExtension,
  pckTcb,
  type IntelCertificateSpec,
  type PckValues,
} from "../../../attestation/tdx-forge.ts";
import { anchorOf, type TdxCase } from "./g-case.ts";

const UNTRUSTED = { stage: "verify", code: "TEE_CHAIN_UNTRUSTED" } as const;
const BAD_CHAIN = { stage: "verify", code: "TEE_CHAIN_MALFORMED" } as const;
const EXPIRED = { stage: "verify", code: "TEE_CERTIFICATE_EXPIRED", check: "tdx-valid" } as const;
const EARLY = {
  stage: "verify",
  code: "TEE_CERTIFICATE_NOT_YET_VALID",
  check: "tdx-valid",
} as const;
const REVOKED = { stage: "verify", code: "TEE_CERTIFICATE_REVOKED" } as const;
const COLLATERAL = { stage: "verify", code: "TEE_COLLATERAL_MALFORMED" } as const;

/** Certificates that do not bear what rests on them. */
export function chainCases(): readonly TdxCase[] {
  return [...pathCases(), ...extensionCases(), ...signerCases(), ...revocationCases()];
}

const quoteWith = (...changed: readonly (Uint8Array | undefined)[]): Uint8Array =>
  forgeQuote({ chain: TDX_CHAIN.map((certificate, at) => changed[at] ?? certificate) });

const pckWith = (changes: Partial<IntelCertificateSpec>): Uint8Array =>
  quoteWith(undefined, undefined, forgeIntel("pck", changes));

const signerWith = (changes: Partial<IntelCertificateSpec>) => ({
  tcbSigningChain: [TDX_ROOT, forgeIntel("signer", changes)],
});

function pathCases(): readonly TdxCase[] {
  const root = forgeIntel("root", { extensions: authority(null) });
  const lower = forgeIntel("ca", {
    subject: "a lower authority",
    issuer: CA_NAME,
    serial: fromHex("77"),
    issuerKey: TDX_KEYS.ca.privateKey,
    publicKey: TDX_KEYS.stranger.publicKey,
  });
  const upper = forgeIntel("ca", { extensions: authority(null) });
  const pck = forgeIntel("pck", {
    issuer: "a lower authority",
    issuerKey: TDX_KEYS.stranger.privateKey,
  });
  const second = TDX_NOW - 1000;
  return [
    {
      title: "a fourth certificate, so that a list above the PCK's issuer is looked at",
      ...BAD_CHAIN,
      check: "tdx-pem-count",
      document: forgeQuote({ chain: [root, upper, lower, pck] }),
      collateral: { tcbSigningChain: [root, forgeIntel("signer")] },
      anchors: [anchorOf(root)],
    },
    {
      title: "a root that is not pinned",
      ...UNTRUSTED,
      check: null,
      anchors: [anchorOf(root)],
    },
    {
      title: "a root that is pinned for another platform",
      stage: "verify",
      code: "TEE_PLATFORM_REFUSED",
      check: null,
      anchors: [anchorOf(TDX_ROOT, "amd-sev-snp")],
    },
    {
      title: "a PCK that its issuer did not sign",
      ...UNTRUSTED,
      check: "tdx-issued",
      document: pckWith({ issuerKey: TDX_KEYS.stranger.privateKey }),
    },
    {
      title: "a PCK issuer that the root did not sign",
      ...UNTRUSTED,
      check: "tdx-issued",
      document: quoteWith(undefined, forgeIntel("ca", { issuerKey: TDX_KEYS.stranger.privateKey })),
    },
    { title: "a PCK a second too old", ...EXPIRED, document: pckWith({ notAfterMs: second }) },
    {
      title: "a PCK a second too young",
      ...EARLY,
      document: pckWith({ notBeforeMs: TDX_NOW + 1000 }),
    },
    {
      title: "a PCK issuer a second too old",
      ...EXPIRED,
      document: quoteWith(undefined, forgeIntel("ca", { notAfterMs: second })),
    },
    {
      title: "a PCK issuer without keyCertSign",
      ...UNTRUSTED,
      check: "tdx-cert-sign",
      document: quoteWith(
        undefined,
        forgeIntel("ca", {
          extensions: [keyUsage(0x02, { critical: true }), basicConstraints({ pathLength: 0 })],
        }),
      ),
    },
    {
      title: "a PCK that is an authority",
      ...UNTRUSTED,
      check: "tdx-leaf-authority",
      document: pckWith({
        extensions: [
          keyUsage(0xc0, { critical: true }),
          basicConstraints({ pathLength: 0 }),
          pckExtension(),
        ],
      }),
    },
  ];
}

/** PCK certificates whose SGX extension is wrong. */
function extensionCases(): readonly TdxCase[] {
  const extended = (changes: PckValues): Uint8Array =>
    pckWith({ extensions: [...LEAF_EXTENSIONS, pckExtension(changes)] });
  const raw = (value: Uint8Array): Uint8Array =>
    pckWith({
      extensions: [...LEAF_EXTENSIONS, { oid: pckExtension().oid, critical: false, value }],
    });
  const good = Buffer.from(pckExtension().value).toString("hex");
  const content = good.slice(8);
  const ppid = content.slice(0, 64);
  const strayOid = ppid.replace("f84d010d0101", "f84d010e0101");
  const more = `3020${ppid.slice(4)}0500`;
  const sequence = (digits: string): Uint8Array => der(0x30, fromHex(digits));
  return [
    {
      title: "a certificate without the SGX extension for the PCK's",
      ...BAD_CHAIN,
      check: null,
      document: pckWith({ extensions: LEAF_EXTENSIONS }),
    },
    {
      title: "the SGX extension marked critical",
      ...BAD_CHAIN,
      check: "tdx-critical-extension",
      document: pckWith({
        extensions: [...LEAF_EXTENSIONS, { ...pckExtension(), critical: true }],
      }),
    },
    {
      title: "a PPID of 15 bytes",
      ...BAD_CHAIN,
      check: "tdx-octets",
      document: extended({ 1: octetString("00112233445566778899aabbccddee") }),
    },
    { title: "no FMSPC", ...BAD_CHAIN, check: null, document: extended({ 4: null }) },
    {
      title: "a component SVN of 259",
      ...BAD_CHAIN,
      check: "tdx-integer",
      document: extended({ 2: pckTcb({ 1: integer(259) }) }),
    },
    {
      title: "a negative component SVN",
      ...BAD_CHAIN,
      check: "tdx-integer",
      document: extended({ 2: pckTcb({ 1: fromHex("020183") }) }),
    },
    {
      title: "no PCESVN",
      ...BAD_CHAIN,
      check: null,
      document: extended({ 2: pckTcb({ 17: null }) }),
    },
    {
      title: "a second PPID",
      ...BAD_CHAIN,
      check: "tdx-field-once",
      document: raw(sequence(content + ppid)),
    },
    {
      title: "a PPID under another OID",
      ...BAD_CHAIN,
      check: "tdx-field-oid",
      document: raw(sequence(strayOid + content.slice(64))),
    },
    {
      title: "a PPID of three parts",
      ...BAD_CHAIN,
      check: "tdx-field-parts",
      document: raw(sequence(more + content.slice(64))),
    },
  ];
}

/** Certificates for that of TCB signing. */
function signerCases(): readonly TdxCase[] {
  const { tcbSigningChain } = TDX_COLLATERAL;
  const below = forgeIntel("signer", { issuer: CA_NAME, issuerKey: TDX_KEYS.ca.privateKey });
  const otherRoot = forgeIntel("root", { extensions: authority(2) });
  return [
    {
      title: "a TCB signing certificate below the PCK issuer",
      ...COLLATERAL,
      check: "tdx-signing-length",
      collateral: { tcbSigningChain: [...TDX_CHAIN.slice(0, 2), below] },
    },
    {
      title: "a leaf of the root with another name",
      ...COLLATERAL,
      check: "tdx-signing-name",
      collateral: signerWith({ subject: "Intel SGX TCB Sign1ng" }),
    },
    {
      title: "a PCK certificate of the name for TCB signing",
      ...COLLATERAL,
      check: "tdx-signing-pck",
      collateral: signerWith({ extensions: [...LEAF_EXTENSIONS, pckExtension()] }),
    },
    {
      title: "an authority for TCB signing",
      ...UNTRUSTED,
      check: "tdx-leaf-authority",
      collateral: signerWith({
        extensions: [keyUsage(0xc0, { critical: true }), basicConstraints({ pathLength: 0 })],
      }),
    },
    {
      title: "a TCB signing certificate that the root did not sign",
      ...UNTRUSTED,
      check: "tdx-issued",
      collateral: signerWith({ issuerKey: TDX_KEYS.stranger.privateKey }),
    },
    {
      title: "a TCB signing certificate a second too old",
      ...EXPIRED,
      collateral: signerWith({ notAfterMs: TDX_NOW - 1000 }),
    },
    {
      title: "a TCB signing certificate a second too young",
      ...EARLY,
      collateral: signerWith({ notBeforeMs: TDX_NOW + 1000 }),
    },
    {
      title: "collateral under another pinned root than the quote",
      ...COLLATERAL,
      check: "tdx-same-root",
      collateral: { tcbSigningChain: [otherRoot, ...tcbSigningChain.slice(1)] },
      anchors: [anchorOf(TDX_ROOT), anchorOf(otherRoot)],
    },
    {
      title: "collateral under a root that is not pinned",
      ...UNTRUSTED,
      check: null,
      collateral: { tcbSigningChain: [otherRoot, ...tcbSigningChain.slice(1)] },
    },
    {
      title: "the root alone for TCB signing",
      ...COLLATERAL,
      check: null,
      swap: { "collateral/tcbSigningChain/1": null },
    },
    {
      title: "TCB info signed by another key",
      ...COLLATERAL,
      check: "tdx-tcb-info-signature",
      collateral: { tcbInfo: forgeStatement("tcbInfo", TCB_INFO, TDX_KEYS.stranger.privateKey) },
    },
    {
      title: "TCB info signed by the PCK",
      ...COLLATERAL,
      check: "tdx-tcb-info-signature",
      collateral: { tcbInfo: forgeStatement("tcbInfo", TCB_INFO, TDX_KEYS.pck.privateKey) },
    },
    {
      title: "a QE identity signed by another key",
      ...COLLATERAL,
      check: "tdx-qe-identity-signature",
      collateral: {
        qeIdentity: forgeStatement("enclaveIdentity", QE_IDENTITY, TDX_KEYS.stranger.privateKey),
      },
    },
    {
      title: "a QE identity altered after it was signed",
      ...COLLATERAL,
      check: "tdx-qe-identity-signature",
      collateral: { qeIdentity: altered(forgeQeIdentity(), '"isvsvn":2', '"isvsvn":1') },
    },
    {
      title: "TCB info altered after it was signed",
      ...COLLATERAL,
      check: "tdx-tcb-info-signature",
      collateral: { tcbInfo: altered(TDX_COLLATERAL.tcbInfo, '"pcesvn":5', '"pcesvn":6') },
    },
    {
      title: "white space put into signed TCB info",
      ...COLLATERAL,
      check: "tdx-tcb-info-signature",
      collateral: { tcbInfo: altered(TDX_COLLATERAL.tcbInfo, '"version":3', '"version": 3') },
    },
  ];
}

function altered(text: Uint8Array, from: string, to: string): Uint8Array {
  const before = Buffer.from(text).toString("latin1");
  if (!before.includes(from)) throw new Error(`text: expected ${from}, got none`);
  return new Uint8Array(Buffer.from(before.replace(from, to), "latin1"));
}

function revocationCases(): readonly TdxCase[] {
  const pck = fromHex("3c16ed54eacbb4ce");
  const ca = fromHex("956f5dcdbd1be1e9");
  const signer = fromHex("7e3882d5fb55294a");
  return [
    {
      title: "a revoked PCK",
      ...REVOKED,
      check: "tdx-pck-revoked",
      collateral: { pckCrl: forgeCrl({ serials: [pck] }) },
    },
    {
      title: "a revoked PCK, last of three",
      ...REVOKED,
      check: "tdx-pck-revoked",
      collateral: { pckCrl: forgeCrl({ serials: [ca, signer, pck] }) },
    },
    {
      title: "a revoked PCK issuer",
      ...REVOKED,
      check: "tdx-issuer-revoked",
      collateral: { rootCrl: forgeRootCrl({ serials: [ca] }) },
    },
    {
      title: "a revoked TCB signing certificate",
      ...REVOKED,
      check: "tdx-signer-revoked",
      collateral: { rootCrl: forgeRootCrl({ serials: [signer] }) },
    },
    {
      title: "a PCK list of another issuer's name",
      ...COLLATERAL,
      check: "tdx-list-issuer",
      collateral: { pckCrl: forgeCrl({ issuer: "Intel SGX PCK Processor CA" }) },
    },
    {
      title: "a PCK list in the place of the root's",
      ...COLLATERAL,
      check: null,
      collateral: { rootCrl: forgeCrl() },
    },
    {
      title: "a PCK list signed by another key",
      ...COLLATERAL,
      check: "tdx-list-signature",
      collateral: { pckCrl: forgeCrl({ issuerKey: TDX_KEYS.stranger.privateKey }) },
    },
    {
      title: "a root list signed by another key",
      ...COLLATERAL,
      check: "tdx-list-signature",
      collateral: { rootCrl: forgeRootCrl({ issuerKey: TDX_KEYS.stranger.privateKey }) },
    },
    {
      title: `a list of ${SIGNER_NAME} for the root's`,
      ...COLLATERAL,
      check: null,
      collateral: {
        rootCrl: forgeRootCrl({ issuer: SIGNER_NAME, issuerKey: TDX_KEYS.signer.privateKey }),
      },
    },
  ];
}

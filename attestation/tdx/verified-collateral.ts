import { verify } from "node:crypto";

import { VerificationError, equalBytes } from "#protocol";

import type { TrustAnchor } from "../anchor.ts";
import type { Certificate } from "../certificate.ts";
import { parseCrl, verifyCrl, verifyNotRevoked, type RevocationList } from "../crl.ts";
import { isoTime } from "../der-time.ts";
import { instantOf, type JudgedAt } from "../judged-at.ts";
import { verifyPath } from "../path.ts";
import { INTEL_PROFILE } from "../profile.ts";
import { derSignature } from "../public-key.ts";
import type { Collateral } from "./collateral.ts";
import { SGX_EXTENSION } from "./pck.ts";
import {
  parseBody,
  parseStatement,
  qeIdentitySchema,
  tcbInfoSchema,
  type QeIdentity,
  type Statement,
  type TcbInfo,
} from "./statement.ts";

/** The common name of the only certificate that may sign statements (SGX PCK certificate specification, § 1.2). */
const SIGNER_NAME = "Intel SGX TCB Signing";
const CHAIN_LENGTH = 2;

interface Parts {
  readonly raw: Collateral;
  readonly root: Certificate;
  readonly signer: Certificate;
  readonly tcbInfo: TcbInfo;
  readonly qeIdentity: QeIdentity;
  readonly rootCrl: RevocationList;
  readonly pckCrl: RevocationList;
  /** When the certificates were judged. */
  readonly judgedAtMs: number;
}

/**
 * Collateral whose signatures were verified, to verify many quotes of one kind of platform with.
 *
 * Only {@link verifyCollateral} makes one. It never outlives what it is made of: each use judges every window again.
 */
export class VerifiedCollateral {
  readonly #parts: Parts;
  /** The PCK issuer whose signature of the PCK list was found good: the list comes without its issuer. */
  #pckIssuer: Uint8Array | null = null;

  constructor(parts: Parts) {
    this.#parts = parts;
    Object.freeze(this);
  }

  /** What was verified, itself and no copies. For `verifyTdxQuote` only. */
  static open(collateral: VerifiedCollateral): Pick<Parts, "raw" | "tcbInfo" | "qeIdentity"> {
    return collateral.#parts;
  }

  /** Until when each part is good. */
  get expiries(): readonly { readonly subject: string; readonly notAfterMs: number }[] {
    const { signer } = this.#parts;
    return [
      { subject: "tcb signing certificate", notAfterMs: signer.notAfterMs },
      ...this.#windows().map(({ subject, notAfterMs }) => ({ subject, notAfterMs })),
    ];
  }

  /**
   * Refuses use outside of any window, ends included. The root is judged with the quote's path.
   *
   * @throws {@link VerificationError} TEE_COLLATERAL_EXPIRED
   */
  verifyCurrent(instantMs: number): void {
    for (const window of this.#windows()) verifyWindow(window, instantMs);
    // At the instant of `verifyCollateral` the path has been judged already.
    if (instantMs === this.#parts.judgedAtMs) return;
    verifyWindow({ ...this.#parts.signer, subject: "tcb signing certificate" }, instantMs);
  }

  /**
   * Refuses a verified path from root to PCK that is under another root or has a certificate on a list.
   *
   * @throws {@link VerificationError} TEE_COLLATERAL_MALFORMED, TEE_CERTIFICATE_REVOKED
   */
  verifyPckPath(root: Certificate, issuer: Certificate, pck: Certificate): void {
    const { rootCrl, pckCrl } = this.#parts;
    if (!equalBytes(root.der, this.#parts.root.der)) {
      throw refused("root", "that of the quote", "another one");
    }
    verifyNotRevoked(issuer, rootCrl);
    if (this.#pckIssuer === null || !equalBytes(this.#pckIssuer, issuer.der)) {
      verifyCrl(pckCrl, issuer);
      this.#pckIssuer = issuer.der;
    }
    verifyNotRevoked(pck, pckCrl);
  }

  #windows(): readonly CurrentWindow[] {
    const { tcbInfo, qeIdentity, rootCrl, pckCrl } = this.#parts;
    return [
      statementWindow("tcb_info", tcbInfo),
      statementWindow("qe_identity", qeIdentity),
      listWindow("root_crl", rootCrl),
      listWindow("pck_crl", pckCrl),
    ];
  }
}

/** Collateral to verify, the roots to trust, and when the signing certificate is judged. */
interface CollateralClaim {
  readonly collateral: Collateral;
  readonly anchors: readonly TrustAnchor[];
  readonly at: JudgedAt;
}

/** From when to when a part is current, both ends in, milliseconds since 1970. */
interface CurrentWindow {
  readonly subject: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * Parses collateral and verifies its signatures under `anchors`, once for many quotes.
 *
 * Checks, in this order: sizes and envelopes, lists' shape, the TCB signing certificate's path (root and leaf, no
 * more), its name, that it is no PCK, the root's list and its own absence from it, both statements' signatures over
 * the bytes as received, their fields: TDX and TD_QE, version 3 and 2. Only then is JSON read. The PCK list's
 * signature needs its issuer, which quotes bring: it is judged with the first of them. Windows are judged at each use.
 *
 * @param anchors - Roots to trust; at least one. No default.
 * @param at - When the signing certificate is judged. No default.
 * @throws {@link MalformedError} TEE_COLLATERAL_MALFORMED, TEE_CHAIN_MALFORMED
 * @throws {@link VerificationError} TEE_COLLATERAL_MALFORMED, TEE_CERTIFICATE_REVOKED, and as `verifyPath`
 * @see Intel SGX and TDX PCS API, version 4; SGX PCK certificate and CRL profile specification
 */
export function verifyCollateral(
  collateral: Collateral,
  anchors: readonly TrustAnchor[],
  at: JudgedAt,
): VerifiedCollateral {
  return verifyCollateralBeside([], { collateral, anchors, at });
}

/** As {@link verifyCollateral}, beside a quote whose certificates are parsed already: the root is the same. */
export function verifyCollateralBeside(
  parsed: readonly Certificate[],
  { collateral, anchors, at }: CollateralClaim,
): VerifiedCollateral {
  const raw = copyOf(collateral);
  const tcbStatement = parseStatement(raw.tcbInfo, "tcbInfo");
  const qeStatement = parseStatement(raw.qeIdentity, "enclaveIdentity");
  const rootCrl = parseCrl(raw.rootCrl, INTEL_PROFILE);
  const pckCrl = parseCrl(raw.pckCrl, INTEL_PROFILE);
  const { root, signer } = verifySigner(raw.tcbSigningChain, parsed, { anchors, at });
  verifyCrl(rootCrl, root);
  verifyNotRevoked(signer, rootCrl);
  verifyStatement(tcbStatement, signer, "tcb_info");
  verifyStatement(qeStatement, signer, "qe_identity");
  return new VerifiedCollateral({
    raw,
    root,
    signer,
    tcbInfo: parseBody(tcbStatement.body, tcbInfoSchema, "tcbInfo"),
    qeIdentity: parseBody(qeStatement.body, qeIdentitySchema, "enclaveIdentity"),
    rootCrl,
    pckCrl,
    judgedAtMs: instantOf(at),
  });
}

function copyOf({ tcbInfo, qeIdentity, tcbSigningChain, pckCrl, rootCrl }: Collateral): Collateral {
  return {
    tcbInfo: new Uint8Array(tcbInfo),
    qeIdentity: new Uint8Array(qeIdentity),
    tcbSigningChain: tcbSigningChain.map((der) => new Uint8Array(der)),
    pckCrl: new Uint8Array(pckCrl),
    rootCrl: new Uint8Array(rootCrl),
  };
}

function verifySigner(
  chain: readonly Uint8Array[],
  parsed: readonly Certificate[],
  { anchors, at }: Omit<CollateralClaim, "collateral">,
): { root: Certificate; signer: Certificate } {
  if (chain.length !== CHAIN_LENGTH) {
    throw refused("tcb_signing_chain", "a root and a leaf", `${chain.length} certificates`);
  }
  const { leaf, certificates } = verifyPath({
    chain,
    profile: INTEL_PROFILE,
    anchors,
    platforms: ["intel-tdx"],
    instantsMs: [instantOf(at)],
    chainCache: at.chainCache,
    parsed,
  });
  if (!Buffer.from(leaf.subject).includes(SIGNER_NAME, 0, "latin1")) {
    throw refused("tcb_signing_chain", `a leaf named ${SIGNER_NAME}`, "another name");
  }
  if (leaf.extensions.has(SGX_EXTENSION)) {
    throw refused("tcb_signing_chain", "a signing certificate", "a PCK certificate");
  }
  return { root: certificates[0] ?? leaf, signer: leaf };
}

function verifyStatement(
  { body, signature }: Statement,
  signer: Certificate,
  subject: string,
): void {
  if (verify("sha256", body, signer.publicKey, derSignature(signature))) return;
  throw refused(subject, "the signature of the TCB signing certificate", "another one");
}

function statementWindow(
  subject: string,
  { issueDate, nextUpdate }: { readonly issueDate: number; readonly nextUpdate: number },
): CurrentWindow {
  return { subject, notBeforeMs: issueDate, notAfterMs: nextUpdate };
}

function listWindow(subject: string, list: RevocationList): CurrentWindow {
  return { subject, notBeforeMs: list.thisUpdateMs, notAfterMs: list.nextUpdateMs };
}

/** Written so that a time that is no number is outside. */
function verifyWindow(window: CurrentWindow, instantMs: number): void {
  const { subject, notBeforeMs, notAfterMs } = window;
  if (instantMs >= notBeforeMs && instantMs <= notAfterMs) return;
  throw new VerificationError(
    { code: "TEE_COLLATERAL_EXPIRED", subject, notBeforeMs, notAfterMs, instantMs },
    `${subject}: expected a time from ${isoTime(notBeforeMs)} to ${isoTime(notAfterMs)}, got ${isoTime(instantMs)}`,
  );
}

function refused(subject: string, expected: string, got: string): VerificationError {
  return new VerificationError(
    { code: "TEE_COLLATERAL_MALFORMED", subject },
    `${subject}: expected ${expected}, got ${got}`,
  );
}

import {
  LimitError,
  MalformedError,
  VerificationError,
  equalBytes,
  fromHex,
  type SymphonyError,
} from "#protocol";

/** The largest quote: about three times a genuine one (5 006 bytes) and room for the padding that some carry. */
export const TDX_QUOTE_BYTES_MAX = 16 * 1024;

/** Version of the TD report inside: TDX 1.0 (584 bytes) or TDX 1.5 (648 bytes). */
export type TdReportVersion = "1.0" | "1.5";

/** A TD report as the quoting enclave signed it. Byte strings are views into the quote. */
export interface TdReport {
  readonly version: TdReportVersion;
  readonly teeTcbSvn: Uint8Array;
  readonly mrSeam: Uint8Array;
  readonly mrSignerSeam: Uint8Array;
  readonly seamAttributes: Uint8Array;
  readonly tdAttributes: Uint8Array;
  readonly xfam: Uint8Array;
  readonly mrTd: Uint8Array;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  readonly reportData: Uint8Array;
  /** TDX 1.5 only: SVNs of the module that runs now, and of service TDs bound to this one. */
  readonly teeTcbSvn2: Uint8Array | null;
  readonly mrServiceTd: Uint8Array | null;
}

/** The report of the enclave that signed the quote (an SGX enclave report). */
export interface QeReport {
  readonly miscSelect: Uint8Array;
  readonly attributes: Uint8Array;
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly reportData: Uint8Array;
}

/** A TDX quote taken apart. Nothing in it is authentic: `verifyTdxQuote` decides that. */
export interface TdxQuote {
  readonly version: 4 | 5;
  readonly report: TdReport;
  /** What the attestation key signed: header and body, as received. */
  readonly signed: Uint8Array;
  /** 64 bytes, r then s. */
  readonly signature: Uint8Array;
  /** The attestation key: x and y of a P-256 point, 64 bytes. */
  readonly attestationKey: Uint8Array;
  readonly qeReport: QeReport;
  /** What the PCK signed. */
  readonly qeReportBytes: Uint8Array;
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  /** PEM text: PCK certificate, its issuer, the root. */
  readonly pckChain: Uint8Array;
  /** A copy of the whole quote, with what follows the signature data. */
  readonly document: Uint8Array;
}

const HEADER_BYTES = 48;
const TEE_SGX = 0;
const TEE_TDX = 0x81;
const ECDSA_P256 = 2;
/** Intel's quoting enclaves; no other vendor makes one. */
const INTEL_QE_VENDOR = fromHex("939a7233f79c4ca9940a0db3957f0607");
const QE_REPORT_BYTES = 384;
const POINT_BYTES = 64;
const SIGNATURE_BYTES = 64;
const QE_REPORT_CERTIFICATION_DATA = 6;
const PCK_CHAIN = 5;
const BODIES = new Map<number, { readonly version: TdReportVersion; readonly size: number }>([
  [2, { version: "1.0", size: 584 }],
  [3, { version: "1.5", size: 648 }],
]);

/**
 * Takes a TDX quote of version 4 or 5 apart and judges its shape. Integers are little endian.
 *
 *     header        0  u16  version (4, 5)
 *                   2  u16  attestation key type (2: ECDSA with P-256)
 *                   4  u32  TEE type (0x81: TDX)
 *                   8   4   reserved
 *                  12  16   QE vendor id (Intel's)
 *                  28  20   user data of the quoting enclave
 *     version 5    48  u16  body type (2: TDX 1.0, 3: TDX 1.5)
 *                  50  u32  body size (584, 648)
 *     body                  584 bytes in version 4; see {@link parseReport}
 *     signature data   u32  size
 *                      64   signature over header and body, r then s
 *                      64   attestation key, x then y
 *                      u16  certification data type (6: QE report)
 *                      u32  size, up to the end of the signature data
 *         QE report   384   see {@link parseQeReport}
 *                      64   signature of the PCK over the QE report, r then s
 *                      u16  size
 *                           authentication data of the quoting enclave
 *                      u16  certification data type (5: PCK certificate chain)
 *                      u32  size, up to the end of the QE report's data
 *                           PEM text
 *     rest                  tolerated, never looked at: genuine quotes carry up to 3 065 bytes of padding
 *
 * So one quote has many forms: never key anything on a quote's hash. SGX quotes, version 3 or of TEE type 0, are
 * refused: Symphony runs no workload in SGX, and an SGX enclave's report has no measurement a policy could accept.
 *
 * @throws {@link LimitError} TEE_DOCUMENT_TOO_LARGE above {@link TDX_QUOTE_BYTES_MAX}
 * @throws {@link MalformedError} TEE_DOCUMENT_MALFORMED
 * @throws {@link VerificationError} TEE_PLATFORM_REFUSED for an SGX quote
 * @see Intel TDX DCAP Quoting Library API, appendix 3 (quote format, versions 4 and 5)
 */
export function parseTdxQuote(document: Uint8Array): TdxQuote {
  if (document.length > TDX_QUOTE_BYTES_MAX) {
    throw new LimitError(
      { code: "TEE_DOCUMENT_TOO_LARGE", bytes: document.length, maxBytes: TDX_QUOTE_BYTES_MAX },
      `quote: expected at most ${TDX_QUOTE_BYTES_MAX} bytes, got ${document.length}`,
    );
  }
  const copy = new Uint8Array(document);
  const version = parseHeader(part(copy, { at: 0, size: HEADER_BYTES, field: "header" }));
  const body = parseBodyHead(copy, version);
  const bodyEnd = body.at + body.size;
  const reportBytes = part(copy, { at: body.at, size: body.size, field: "body" });
  return {
    version,
    report: parseReport(reportBytes, body.version),
    signed: copy.subarray(0, bodyEnd),
    ...parseSignatureData(sized(copy, bodyEnd, "signature data")),
    document: copy,
  };
}

function parseHeader(header: Uint8Array): 4 | 5 {
  const version = u16(header, 0);
  const teeType = u32(header, 4);
  if (teeType !== TEE_TDX) throw notTdx({ version, teeType });
  const keyType = u16(header, 2);
  if (keyType !== ECDSA_P256) throw fault("att_key_type", "2 (ECDSA with P-256)", `${keyType}`);
  if (!equalBytes(header.subarray(12, 28), INTEL_QE_VENDOR)) {
    throw fault("qe_vendor_id", "Intel's", "another one");
  }
  if (version === 4 || version === 5) return version;
  throw notTdx({ version, teeType });
}

/** Says so when it is an SGX quote: those have been of version 3, and have TEE type 0 in any. */
function notTdx({ version, teeType }: { version: number; teeType: number }): SymphonyError {
  const got = `version ${version}, TEE type ${teeType}`;
  if (version !== 3 && teeType !== TEE_SGX) {
    return fault("header", `version 4 or 5, TEE type ${TEE_TDX}`, got);
  }
  return new VerificationError(
    { code: "TEE_PLATFORM_REFUSED", version, tee_type: teeType },
    `quote: expected a TDX quote, got an SGX quote (${got})`,
  );
}

function parseBodyHead(
  quote: Uint8Array,
  version: 4 | 5,
): { readonly version: TdReportVersion; readonly at: number; readonly size: number } {
  if (version === 4) return { version: "1.0", at: HEADER_BYTES, size: 584 };
  const head = part(quote, { at: HEADER_BYTES, size: 6, field: "body head" });
  const type = u16(head, 0);
  const body = BODIES.get(type);
  if (body === undefined) throw fault("body type", "2 (TDX 1.0) or 3 (TDX 1.5)", `${type}`);
  const size = u32(head, 2);
  if (size !== body.size) throw fault("body size", `${body.size}`, `${size}`);
  return { ...body, at: HEADER_BYTES + 6 };
}

/**
 * A TD report (Intel TDX module ABI, TDREPORT_STRUCT; quote format § A.3.2).
 *
 *       0  16  TEE_TCB_SVN        280  48  MROWNERCONFIG
 *      16  48  MRSEAM             328  48  RTMR0
 *      64  48  MRSIGNERSEAM       376  48  RTMR1
 *     112   8  SEAMATTRIBUTES     424  48  RTMR2
 *     120   8  TDATTRIBUTES       472  48  RTMR3
 *     128   8  XFAM               520  64  REPORTDATA
 *     136  48  MRTD               584  16  TEE_TCB_SVN2  (TDX 1.5)
 *     184  48  MRCONFIGID         600  48  MRSERVICETD   (TDX 1.5)
 *     232  48  MROWNER
 */
function parseReport(body: Uint8Array, version: TdReportVersion): TdReport {
  const at = (from: number, size: number): Uint8Array => body.subarray(from, from + size);
  const isLater = version === "1.5";
  return {
    version,
    teeTcbSvn: at(0, 16),
    mrSeam: at(16, 48),
    mrSignerSeam: at(64, 48),
    seamAttributes: at(112, 8),
    tdAttributes: at(120, 8),
    xfam: at(128, 8),
    mrTd: at(136, 48),
    mrConfigId: at(184, 48),
    mrOwner: at(232, 48),
    mrOwnerConfig: at(280, 48),
    rtmrs: [at(328, 48), at(376, 48), at(424, 48), at(472, 48)],
    reportData: at(520, 64),
    teeTcbSvn2: isLater ? at(584, 16) : null,
    mrServiceTd: isLater ? at(600, 48) : null,
  };
}

type SignatureData = Omit<TdxQuote, "version" | "report" | "signed" | "document">;

function parseSignatureData(data: Uint8Array): SignatureData {
  const keyAt = SIGNATURE_BYTES;
  const certificationAt = keyAt + POINT_BYTES;
  const signature = part(data, { at: 0, size: SIGNATURE_BYTES, field: "signature" });
  const attestationKey = part(data, { at: keyAt, size: POINT_BYTES, field: "attestation key" });
  const outer = typed(data, certificationAt, QE_REPORT_CERTIFICATION_DATA);
  const qeReportBytes = part(outer, { at: 0, size: QE_REPORT_BYTES, field: "QE report" });
  const qeReportSignature = part(outer, {
    at: QE_REPORT_BYTES,
    size: SIGNATURE_BYTES,
    field: "QE report signature",
  });
  const authAt = QE_REPORT_BYTES + SIGNATURE_BYTES;
  const authSize = u16(part(outer, { at: authAt, size: 2, field: "QE authentication data" }), 0);
  const qeAuthData = part(outer, {
    at: authAt + 2,
    size: authSize,
    field: "QE authentication data",
  });
  return {
    signature,
    attestationKey,
    qeReport: parseQeReport(qeReportBytes),
    qeReportBytes,
    qeReportSignature,
    qeAuthData,
    pckChain: typed(outer, authAt + 2 + authSize, PCK_CHAIN),
  };
}

/**
 * An SGX enclave report (quote format § A.4, Enclave Report Body).
 *
 *       0  16  CPUSVN          128  32  MRSIGNER
 *      16   4  MISCSELECT      256  u16 ISVPRODID
 *      48  16  ATTRIBUTES      258  u16 ISVSVN
 *      64  32  MRENCLAVE       320  64  REPORTDATA
 */
function parseQeReport(report: Uint8Array): QeReport {
  return {
    miscSelect: report.subarray(16, 20),
    attributes: report.subarray(48, 64),
    mrSigner: report.subarray(128, 160),
    isvProdId: u16(report, 256),
    isvSvn: u16(report, 258),
    reportData: report.subarray(320, 384),
  };
}

/** Certification data of `type`: u16 type, u32 size, and as many bytes, which end `bytes`. */
function typed(bytes: Uint8Array, at: number, type: number): Uint8Array {
  const field = "certification data";
  const actual = u16(part(bytes, { at, size: 2, field }), 0);
  if (actual !== type) throw fault(`${field} type`, `${type}`, `${actual}`);
  const data = sized(bytes, at + 2, field);
  const left = bytes.length - (at + 6 + data.length);
  if (left !== 0) throw fault(field, "nothing after it", `${left} bytes`);
  return data;
}

/** A u32 size and as many bytes. */
function sized(bytes: Uint8Array, at: number, field: string): Uint8Array {
  const size = u32(part(bytes, { at, size: 4, field }), 0);
  return part(bytes, { at: at + 4, size, field });
}

function part(
  bytes: Uint8Array,
  { at, size, field }: { readonly at: number; readonly size: number; readonly field: string },
): Uint8Array {
  if (at + size > bytes.length) {
    throw fault(field, `${size} bytes`, `${Math.max(0, bytes.length - at)}`);
  }
  return bytes.subarray(at, at + size);
}

/** Callers have made sure that the bytes are there. */
function u16(bytes: Uint8Array, at: number): number {
  const [low = 0, high = 0] = bytes.subarray(at, at + 2);
  return low + high * 0x100;
}

function u32(bytes: Uint8Array, at: number): number {
  return u16(bytes, at) + u16(bytes, at + 2) * 0x1_0000;
}

function fault(field: string, expected: string, got: string): MalformedError {
  return new MalformedError(
    { code: "TEE_DOCUMENT_MALFORMED", field },
    `quote ${field}: expected ${expected}, got ${got}`,
  );
}

export {
  ERROR_CLASSES,
  ERROR_FAMILIES,
  SymphonyError,
  MalformedError,
  VerificationError,
  AppraisalError,
  RefusedError,
  ConflictError,
  LimitError,
  UnavailableError,
  type ErrorClass,
  type ErrorCode,
  type ErrorDetails,
  type ErrorFamily,
} from "./errors.ts";
export { ERROR_CODES } from "./error-codes.ts";
export {
  base64,
  compareBytes,
  concat,
  equalBytes,
  fromBase64,
  fromHex,
  hex,
  utf8,
  utf8Text,
} from "./bytes.ts";
export { CBOR_BYTES_MAX, decodeCbor, encodeCbor, type CborValue } from "./cbor.ts";
export { digestOf, digestOfBytes, hkdf, hmacSha256, sha256, sha384 } from "./hash.ts";
export { FRAME_BYTES_MAX, FrameReader, encodeFrame } from "./frame.ts";

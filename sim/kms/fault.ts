/** The error names of KMS that the simulator answers with (KMS API Reference, "Errors" of each operation). */
export type KmsFaultType =
  | "AccessDeniedException"
  | "DisabledException"
  | "IncorrectKeyException"
  | "InvalidCiphertextException"
  | "InvalidKeyUsageException"
  | "InvalidSignatureException"
  | "KMSInternalException"
  | "KMSInvalidStateException"
  | "LimitExceededException"
  | "MalformedPolicyDocumentException"
  | "MissingAuthenticationTokenException"
  | "NotFoundException"
  | "SerializationException"
  | "UnknownOperationException"
  | "UnrecognizedClientException"
  | "UnsupportedOperationException"
  | "ValidationException";

/** A refusal as AWS names it. The message is for the developer and says nothing secret. */
export class KmsFault extends Error {
  readonly type: KmsFaultType;

  constructor(type: KmsFaultType, message: string) {
    super(message);
    this.type = type;
  }
}

import { fromHex } from "#protocol";

/** A signature algorithm of certificates. Padding and salt of RSA are bound to the issuer's key (`importedAs`). */
export interface SignatureAlgorithm {
  readonly name: string;
  /** AlgorithmIdentifier, DER, compared byte for byte. */
  readonly identifier: Uint8Array;
  readonly hash: "sha256" | "sha384";
}

/** A kind of key: its AlgorithmIdentifier, and the size in bits where that does not say it. */
export interface KeyAlgorithm {
  readonly name: string;
  readonly identifier: Uint8Array;
  readonly modulusBits: number | null;
  /** The AlgorithmIdentifier to import it under instead: a key under its own could verify by other paddings too. */
  readonly importedAs: Uint8Array | null;
}

/** What the certificates of one vendor look like; nothing else of X.509 is accepted from it. */
export interface CertificateProfile {
  readonly bytesMax: number;
  readonly keys: readonly KeyAlgorithm[];
  readonly signatures: readonly SignatureAlgorithm[];
  /** Whether end-entity certificates carry basicConstraints and keyUsage. AMD's VCEK and VLEK have neither. */
  readonly leafConstraints: "required" | "absent";
}

const P384_KEY: KeyAlgorithm = {
  name: "a P-384 key",
  // id-ecPublicKey with secp384r1 (RFC 5480 § 2.1.1).
  identifier: fromHex("301006072a8648ce3d020106052b81040022"),
  modulusBits: null,
  importedAs: null,
};
const P256_KEY: KeyAlgorithm = {
  name: "a P-256 key",
  // id-ecPublicKey with secp256r1 (RFC 5480 § 2.1.1).
  identifier: fromHex("301306072a8648ce3d020106082a8648ce3d030107"),
  modulusBits: null,
  importedAs: null,
};
/** SHA-384, MGF1 with SHA-384 and a salt of 48 bytes, as RSASSA-PSS-params has them (RFC 8017 § A.2.3). */
const PSS_PARAMETERS =
  "a00f300d06096086480165030402020500" +
  "a11c301a06092a864886f70d010108300d06096086480165030402020500" +
  "a203020130";
/** Without the trailer field, which is a default and so not there in DER, as in a VCEK of Turin. */
const PSS_IDENTIFIER = fromHex(`304106092a864886f70d01010a3034${PSS_PARAMETERS}`);
const RSA_4096_KEY: KeyAlgorithm = {
  name: "an RSA-4096 key",
  // rsaEncryption, NULL (RFC 8017 § A.1).
  identifier: fromHex("300d06092a864886f70d0101010500"),
  modulusBits: 4096,
  importedAs: PSS_IDENTIFIER,
};

const ECDSA_SHA384: SignatureAlgorithm = {
  name: "ecdsa-with-SHA384",
  // No parameters (RFC 5758 § 3.2).
  identifier: fromHex("300a06082a8648ce3d040303"),
  hash: "sha384",
};
const ECDSA_SHA256: SignatureAlgorithm = {
  name: "ecdsa-with-SHA256",
  identifier: fromHex("300a06082a8648ce3d040302"),
  hash: "sha256",
};
const PSS_SHA384: SignatureAlgorithm = {
  name: "RSASSA-PSS with SHA-384 and a salt of 48 bytes",
  // With the trailer field, as in AMD's certificates of Milan and Genoa.
  identifier: fromHex(`304606092a864886f70d01010a3039${PSS_PARAMETERS}a303020101`),
  hash: "sha384",
};
const PSS_SHA384_DER: SignatureAlgorithm = {
  name: "RSASSA-PSS with SHA-384 and a salt of 48 bytes",
  identifier: PSS_IDENTIFIER,
  hash: "sha384",
};

/** AWS: P-384 and ECDSA with SHA-384 throughout; at most 1024 bytes (attestation_process.md § 2.2). */
export const NITRO_PROFILE: CertificateProfile = {
  bytesMax: 1024,
  keys: [P384_KEY],
  signatures: [ECDSA_SHA384],
  leafConstraints: "required",
};

/** AMD: RSA-4096 authorities, P-384 leaves, RSASSA-PSS (VCEK certificate and KDS interface, publication 57230). */
export const AMD_PROFILE: CertificateProfile = {
  bytesMax: 4096,
  keys: [RSA_4096_KEY, P384_KEY],
  signatures: [PSS_SHA384, PSS_SHA384_DER],
  leafConstraints: "absent",
};

/** Intel: P-256 and ECDSA with SHA-256 throughout (SGX PCK certificate and CRL profile specification). */
export const INTEL_PROFILE: CertificateProfile = {
  bytesMax: 4096,
  keys: [P256_KEY],
  signatures: [ECDSA_SHA256],
  leafConstraints: "required",
};

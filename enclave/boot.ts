import { verifyNitroDocument, type AttestationPlatform } from "#attestation";
import {
  GENESIS,
  LimitError,
  SESSION_MANIFEST,
  UnavailableError,
  VerificationError,
  equalBytes,
  generateBoxKeyPair,
  open,
  peerNonce,
  sessionAad,
  sha256,
  signingKeyFromSeed,
  type BoxKeyPair,
  type EnclaveRole,
  type SessionManifest,
  type SigningKey,
  type SliceReference,
} from "#protocol";

import { secretBytes, type EnclaveEnvironment, type RecipientKey } from "./environment.ts";
import { ATTESTATIONS_MAX, configurationDigest } from "./limits.ts";

/** The time and platform that this enclave's own NSM has just signed for. */
export interface OwnEvidence {
  readonly platform: AttestationPlatform;
  /** Milliseconds since 1970 by the platform's clock: the only time an enclave believes. */
  readonly timeMs: number;
}

/**
 * An enclave after `boot`: its role, keys and pinned genesis, all of them named in its manifest.
 *
 * Only {@link bootEnclave} makes one.
 */
class BootedEnclave {
  readonly environment: EnclaveEnvironment;
  readonly manifest: SessionManifest;
  readonly manifestBytes: Uint8Array;
  readonly manifestDigest: Uint8Array;
  readonly signing: SigningKey;
  readonly box: BoxKeyPair;
  readonly recipient: RecipientKey;
  readonly #issued: { readonly nonce: Uint8Array; readonly document: Uint8Array }[] = [];

  constructor(args: {
    readonly environment: EnclaveEnvironment;
    readonly manifest: SessionManifest;
    readonly signing: SigningKey;
    readonly box: BoxKeyPair;
    readonly recipient: RecipientKey;
  }) {
    this.environment = args.environment;
    this.manifest = args.manifest;
    this.manifestBytes = SESSION_MANIFEST.encode(args.manifest);
    this.manifestDigest = SESSION_MANIFEST.digest(args.manifest);
    this.signing = args.signing;
    this.box = args.box;
    this.recipient = args.recipient;
  }

  get role(): EnclaveRole {
    return this.manifest.role;
  }

  get genesisDigest(): Uint8Array {
    return this.manifest.genesis_digest;
  }

  /**
   * A fresh document over `nonce`, this enclave's manifest and its recipient key.
   *
   * @throws {@link LimitError} EXECUTION_BOUND_EXCEEDED after {@link ATTESTATIONS_MAX}
   * @throws {@link UnavailableError} TEE_NSM_FAILED
   */
  async attest(nonce: Uint8Array): Promise<Uint8Array> {
    if (this.#issued.length >= ATTESTATIONS_MAX) {
      throw new LimitError(
        { code: "EXECUTION_BOUND_EXCEEDED", max: ATTESTATIONS_MAX },
        `attest: expected at most ${ATTESTATIONS_MAX} requests, got more`,
      );
    }
    const document = await this.#document(nonce);
    this.#issued.push({ nonce, document });
    return document;
  }

  /** Whether this enclave gave out `document` since it booted. */
  hasIssued(document: Uint8Array): boolean {
    return this.#issued.some((issued) => equalBytes(issued.document, document));
  }

  /**
   * Opens what a peer sealed to this enclave after appraising the evidence given out over its challenge.
   *
   * A host may have asked twice over one challenge and handed on either document; which one the peer appraised is
   * found by trying, the last first.
   *
   * @throws {@link VerificationError} TEE_NONCE_MISMATCH when the peer's challenge was never answered;
   *   INTERNAL_OPEN_FAILED when nothing opens
   */
  async openFromPeer(box: {
    readonly peer: SessionManifest;
    readonly reference: SliceReference;
    readonly info: string;
    readonly sealed: Uint8Array;
  }): Promise<Uint8Array> {
    const nonce = peerNonce(box.peer.challenge, this.manifestDigest);
    const issued = this.#issued.filter((candidate) => equalBytes(candidate.nonce, nonce));
    let failure = new VerificationError(
      { code: "TEE_NONCE_MISMATCH" },
      "evidence: expected one given out over the peer's challenge, got none",
    );
    for (const { document } of issued.toReversed()) {
      const aad = sessionAad(box.reference, document);
      try {
        // One after the other: nearly always the first opens.
        return await open({ key: this.box, info: box.info, aad, sealed: box.sealed });
      } catch (error) {
        if (!(error instanceof VerificationError)) throw error;
        failure = error;
      }
    }
    throw failure;
  }

  /**
   * Asks the NSM for a document of this very moment and reads platform and time off it.
   *
   * @throws {@link UnavailableError} TEE_NSM_FAILED when the document is not about this enclave
   * @throws {@link VerificationError} as `verifyNitroDocument`
   */
  async ownEvidence(): Promise<OwnEvidence> {
    const nonce = await secretBytes(this.environment, 32);
    const document = await this.#document(nonce);
    const evidence = verifyNitroDocument(document, this.environment.anchors, { mode: "replay" });
    const own =
      equalBytes(evidence.nonce ?? new Uint8Array(0), nonce) &&
      equalBytes(evidence.userData ?? new Uint8Array(0), this.manifestDigest);
    if (own) return { platform: evidence.platform, timeMs: evidence.claims.timestampMs };
    throw new UnavailableError(
      { code: "TEE_NSM_FAILED" },
      "nsm: expected a document about this enclave, got another",
    );
  }

  #document(nonce: Uint8Array): Promise<Uint8Array> {
    return this.environment.nsm.attest({
      nonce,
      userData: this.manifestDigest,
      publicKey: this.recipient.publicKey,
    });
  }
}

export type { BootedEnclave };

/**
 * Boots an enclave into `role` for the network of `genesis`: makes its keys and its manifest.
 *
 * The genesis is the host's word; whoever appraises the evidence compares `genesis_digest` with the one it pins.
 *
 * @throws {@link MalformedError} SCHEMA_MALFORMED, SCHEMA_CBOR_MALFORMED for bytes that are no genesis
 * @throws {@link UnavailableError} TEE_NSM_FAILED
 */
export async function bootEnclave(
  environment: EnclaveEnvironment,
  { role, genesis }: { readonly role: EnclaveRole; readonly genesis: Uint8Array },
): Promise<BootedEnclave> {
  const genesisDigest = GENESIS.digest(GENESIS.decode(genesis));
  const seed = await secretBytes(environment, 32);
  const signing = signingKeyFromSeed(seed);
  seed.fill(0);
  const box = await generateBoxKeyPair();
  const recipient = await environment.recipientKey;
  const manifest: SessionManifest = {
    version: 1,
    role,
    box_key: box.publicKey,
    signing_key: signing.publicKey,
    recipient_key: recipient.publicKey,
    genesis_digest: genesisDigest,
    anchors: environment.anchors.map(({ platform, certificate }) => ({
      platform,
      sha256: sha256(certificate),
    })),
    configuration_digest: configurationDigest(),
    runtime: environment.runtime,
    cpu_features: [...environment.cpuFeatures],
    challenge: await secretBytes(environment, 32),
  };
  return new BootedEnclave({ environment, manifest, signing, box, recipient });
}

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { KMSClient, type RecipientInfo } from "@aws-sdk/client-kms";

import { fromHex } from "../../../protocol/index.ts";
import { startInsecureKms, type InsecureKms, type SimKmsOptions } from "../../../sim/kms/server.ts";
import { InsecureSimNsm } from "../../../sim/nsm.ts";
import { createInsecureSimPlatform, type InsecureSimPlatform } from "../../../sim/platform.ts";

/** The time of the simulated service and its enclaves. */
export const NOW = 1_790_000_000_000;
export const IMAGE = { pcr0: "11".repeat(48), pcr1: "22".repeat(48), pcr2: "33".repeat(48) };
export const ZEROS = "00".repeat(48);
export const ACCOUNT = "000000000000";

/** The enclave's key of every test; making one takes longer than everything else. */
export const ENCLAVE = rsa(2048);

/** What a document of a test may differ in. */
export interface DocumentOptions {
  readonly platform?: InsecureSimPlatform;
  readonly image?: Partial<typeof IMAGE>;
  readonly publicKey?: Uint8Array | null;
  readonly nowMs?: number;
  readonly nonce?: Uint8Array;
}

/** A running service with the unmodified SDK beside it, and the enclaves it knows. */
export class KmsRig {
  readonly directory = mkdtempSync(join(tmpdir(), "symphony-kms-"));
  readonly platform = createInsecureSimPlatform(join(this.directory, "platform"));
  readonly foreign = createInsecureSimPlatform(join(this.directory, "foreign"));
  readonly keys = join(this.directory, "keys");
  readonly #clients: KMSClient[] = [];
  #servers: InsecureKms[] = [];

  get endpoint(): string {
    return this.#servers.at(-1)?.endpoint ?? "";
  }

  async start(options: Partial<SimKmsOptions> = {}): Promise<InsecureKms> {
    const server = await startInsecureKms({
      directory: this.keys,
      anchors: [this.platform.anchor],
      port: 0,
      nowMs: () => NOW,
      ...options,
    });
    this.#servers.push(server);
    return server;
  }

  /** The unmodified SDK, as the user of this name. */
  client(accessKeyId = "tester", secretAccessKey = "any"): KMSClient {
    const client = new KMSClient({
      region: "sim-local-1",
      endpoint: this.endpoint,
      credentials: { accessKeyId, secretAccessKey },
      maxAttempts: 1,
    });
    this.#clients.push(client);
    return client;
  }

  document(options: DocumentOptions = {}): Uint8Array {
    const { pcr0, pcr1, pcr2 } = { ...IMAGE, ...options.image };
    const platform = options.platform ?? this.platform;
    const nsm = new InsecureSimNsm({
      platform,
      moduleId: platform.moduleId(randomBytes(8)),
      nowMs: () => options.nowMs ?? NOW,
      random: randomBytes,
      pcrs: new Map([pcr0, pcr1, pcr2].map((pcr, index) => [index, fromHex(pcr)])),
    });
    const publicKey = options.publicKey === undefined ? ENCLAVE.spki : options.publicKey;
    return nsm.attest({ nonce: options.nonce ?? null, userData: null, publicKey });
  }

  recipient(options: DocumentOptions | Uint8Array = {}): RecipientInfo {
    const document = options instanceof Uint8Array ? options : this.document(options);
    return { KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: document };
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    for (const server of this.#servers.splice(0)) await server.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** An RSA key of an enclave, with its public half as it stands in a document. */
export function rsa(modulusLength: number) {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength });
  const spki = new Uint8Array(publicKey.export({ format: "der", type: "spki" }));
  return { privateKey, spki };
}

/** A key policy of these statements; each lacks only what is given. */
export function policyOf(...statements: readonly object[]): string {
  const common = { Effect: "Allow", Principal: "*", Action: "kms:*", Resource: "*" };
  const Statement = statements.map((statement) => ({ ...common, ...statement }));
  return JSON.stringify({ Version: "2012-10-17", Statement });
}

/** Everybody administers and encrypts; plaintext goes to {@link IMAGE} only. */
export const ATTESTED_POLICY = policyOf(
  {
    Action: ["kms:Encrypt", "kms:DescribeKey", "kms:*KeyPolicy", "kms:*ableKey", "kms:Schedule*"],
  },
  {
    Action: ["kms:Decrypt", "kms:GenerateDataKey*", "kms:DeriveSharedSecret"],
    Condition: {
      StringEqualsIgnoreCase: {
        "kms:RecipientAttestation:ImageSha384": IMAGE.pcr0,
        "kms:RecipientAttestation:PCR1": IMAGE.pcr1,
        "kms:RecipientAttestation:PCR2": IMAGE.pcr2,
      },
    },
  },
);

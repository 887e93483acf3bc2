import { parseArgs } from "node:util";

import { EXIT, UsageError } from "#cli";
import { createInsecureSimPlatform } from "../platform.ts";
import type { SimProcess } from "../process.ts";
import { readCredentials } from "./caller.ts";
import { startInsecureKms } from "./server.ts";

/** What `symphony sim kms --help` prints. */
export const KMS_HELP = `symphony sim kms --dir DIR --platform DIR [--port PORT] [--credentials FILE]

A simulated AWS KMS on this machine. It speaks the protocol of the AWS SDKs, keeps its keys in --dir, and releases to
documents of simulated enclaves whose root is in --platform (made there when there is none; see symphony sim attest).
It prints one line of JSON when it is ready, with its endpoint, and ends on Ctrl-C. Everything about it is SIMULATED.

Pointing an SDK at it:

  const kms = new KMSClient({
    region: "sim-local-1",
    endpoint: "http://127.0.0.1:PORT",
    credentials: { accessKeyId: "alice", secretAccessKey: "any" },
  });

  AWS_ENDPOINT_URL_KMS=http://127.0.0.1:PORT AWS_REGION=sim-local-1 AWS_ACCESS_KEY_ID=alice AWS_SECRET_ACCESS_KEY=any

Who asks: the access key id names a user of account 000000000000, arn:aws:iam::000000000000:user/alice above. The
signature is NOT verified, unless --credentials names a file of access keys: then Signature Version 4 is, and each
key is the principal that the file says:

  { "AKID": { "secret_access_key": "...", "principal_arn": "arn:aws:iam::111122223333:role/enclave" } }

What it has: CreateKey (SYMMETRIC_DEFAULT, RSA_2048 to RSA_4096, ECC_NIST_P256 to P521 for KEY_AGREEMENT), DescribeKey,
ListKeys, GetKeyPolicy, PutKeyPolicy, EnableKey, DisableKey, ScheduleKeyDeletion, GetPublicKey, Encrypt, Decrypt,
ReEncrypt (symmetric), GenerateDataKey, GenerateDataKeyPair and both WithoutPlaintext, GenerateRandom, DeriveSharedSecret. Key policies are judged
in full: principals, Allow and Deny, NotAction, conditions on text, ARNs, booleans and Null with IfExists,
ForAnyValue and ForAllValues, on kms:RecipientAttestation:ImageSha384 and PCR0 to PCR31, kms:EncryptionContext:..., and the
caller. Other operators never grant. There is no IAM: what a policy gives an account's root, all its users have. There
are no grants, aliases or signing keys.

Documents: verified as AWS verifies them, under the simulator's root, at most five minutes old, with an RSA-2048 public
key. One of a debug enclave (PCRs 0 to 2 of zeros) fulfils no condition on PCRs, not even one that lists zeros.
`;

const OPTIONS = {
  dir: { type: "string" },
  platform: { type: "string" },
  port: { type: "string", default: "0" },
  credentials: { type: "string" },
} as const;

/** `symphony sim kms`: runs until it is told to stop. */
export async function runKmsCommand(argv: readonly string[], sim: SimProcess): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: OPTIONS });
  const { dir, platform, port, credentials } = values;
  if (dir === undefined || platform === undefined) {
    throw new UsageError("sim kms: expected --dir and --platform");
  }
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new UsageError(`--port: expected 0 to 65535, got ${port}`);
  }
  const kms = await startInsecureKms({
    directory: dir,
    anchors: [createInsecureSimPlatform(platform).anchor],
    port: Number(port),
    nowMs: sim.nowMs,
    ...(credentials === undefined ? {} : { credentials: readCredentials(credentials) }),
  });
  sim.io.stdout(`${JSON.stringify({ event: "ready", endpoint: kms.endpoint, SIMULATED: true })}\n`);
  await new Promise<void>((resolve) => {
    if (sim.signal.aborted) resolve();
    sim.signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await kms.close();
  return EXIT.ok;
}

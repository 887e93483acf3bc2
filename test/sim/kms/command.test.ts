import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { CreateKeyCommand, DecryptCommand, EncryptCommand, KMSClient } from "@aws-sdk/client-kms";
import { afterAll, beforeAll, expect, test } from "vitest";

import { parseAnchor, verifyNitroDocument } from "../../../attestation/index.ts";
import { openCiphertextForRecipient } from "../../../enclave/adapters/cms.ts";
import { hex, utf8 } from "../../../protocol/index.ts";
import { reportError } from "../../../cli/index.ts";
import { runSimCommand } from "../../../sim/cli.ts";
import { ATTESTED_POLICY, ENCLAVE, IMAGE } from "./rig.ts";

const ROOT = join(import.meta.dirname, "../../..");
const NODE = join(ROOT, "node_modules/.bin/node");
const QUIET = "--disable-warning=ExperimentalWarning";
const children: ChildProcess[] = [];
let directory = "";
let platform = "";
let keyFile = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "symphony-sim-kms-"));
  platform = join(directory, "platform");
  keyFile = join(directory, "enclave.der");
  writeFileSync(keyFile, ENCLAVE.spki);
});
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

interface Ran {
  readonly status: number | "usage";
  readonly stdout: string;
  readonly stderr: string;
}

/** The command in this process. */
async function symphony(...words: readonly string[]): Promise<Ran> {
  const [stdout, stderr]: [string[], string[]] = [[], []];
  const io = {
    stdout: (text: string) => void stdout.push(text),
    stderr: (text: string) => void stderr.push(text),
  };
  const process0 = {
    io,
    repositoryRoot: ROOT,
    nowMs: Date.now,
    random: (bytes: number) => new Uint8Array(randomBytes(bytes)),
    signal: AbortSignal.abort(),
  };
  const status = await runSimCommand(["sim", ...words], process0).catch((error: unknown) => {
    expect(reportError(error, io, false)).toBe(2);
    return "usage" as const;
  });
  return { status, stdout: stdout.join(""), stderr: stderr.join("") };
}

async function startKms(): Promise<{ child: ChildProcess; kms: KMSClient }> {
  const words = ["sim", "kms", "--dir", join(directory, "keys"), "--platform", platform];
  const child = spawn(NODE, [QUIET, join(ROOT, "sim/main.ts"), ...words], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const { stdout } = child;
  if (stdout === null) throw new Error("no output");
  const line: unknown = JSON.parse(String((await once(stdout, "data"))[0]));
  expect(line).toEqual({
    event: "ready",
    endpoint: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    SIMULATED: true,
  });
  const endpoint =
    line !== null && typeof line === "object" && "endpoint" in line ? line.endpoint : "";
  const kms = new KMSClient({
    region: "sim-local-1",
    endpoint: String(endpoint),
    credentials: { accessKeyId: "alice", secretAccessKey: "any" },
    maxAttempts: 1,
  });
  return { child, kms };
}

const IMAGE_WORDS = ["--image-sha384", IMAGE.pcr0, "--pcr1", IMAGE.pcr1, "--pcr2", IMAGE.pcr2];

async function attest(...words: readonly string[]): Promise<Uint8Array> {
  const out = join(directory, "document.bin");
  const run = await symphony("attest", "--platform", platform, ...words, "--out", out);
  expect(run).toMatchObject({ status: 0, stdout: "" });
  return new Uint8Array(readFileSync(out));
}

const recipient = (document: Uint8Array) =>
  ({ KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_256", AttestationDocument: document }) as const;

test("[RT-5] keys outlive kill -9, and a document made by hand gets them", async () => {
  const first = await startKms();
  const { KeyMetadata } = await first.kms.send(new CreateKeyCommand({ Policy: ATTESTED_POLICY }));
  const Plaintext = utf8("a data key");
  const { CiphertextBlob } = await first.kms.send(
    new EncryptCommand({ KeyId: KeyMetadata?.KeyId, Plaintext }),
  );
  const ended = once(first.child, "exit");
  first.child.kill("SIGKILL");
  await ended;
  first.kms.destroy();
  const second = await startKms();
  const document = await attest(...IMAGE_WORDS, "--public-key", keyFile);
  const answer = await second.kms.send(
    new DecryptCommand({ CiphertextBlob, Recipient: recipient(document) }),
  );
  const cms = answer.CiphertextForRecipient ?? utf8("");
  expect(hex(openCiphertextForRecipient(cms, ENCLAVE.privateKey))).toBe(hex(Plaintext));
  const other = await attest("--pcr0", IMAGE.pcr1, "--public-key", keyFile);
  await expect(
    second.kms.send(new DecryptCommand({ CiphertextBlob, Recipient: recipient(other) })),
  ).rejects.toMatchObject({ name: "AccessDeniedException" });
  second.kms.destroy();
  const stopped = once(second.child, "exit");
  second.child.kill("SIGTERM");
  expect(await stopped).toEqual([0, null]);
});

test("[RT-3] makes documents that say what they are told to, under the simulator's root", async () => {
  const words = [...IMAGE_WORDS, "--nonce", "0aff", "--user-data", "00", "--pcr8", IMAGE.pcr0];
  const document = await attest(...words);
  const anchor = parseAnchor(new Uint8Array(readFileSync(join(platform, "sim-root.der"))));
  const at = { mode: "replay" } as const;
  const {
    claims,
    nonce,
    userData,
    publicKey,
    platform: kind,
  } = verifyNitroDocument(document, [anchor], at);
  expect(kind).toBe("sim");
  expect([nonce, userData].map((bytes) => hex(bytes ?? utf8("none")))).toEqual(["0aff", "00"]);
  expect(publicKey).toBeNull();
  const pcr = (index: number): string => hex(claims.pcrs.get(index) ?? utf8(""));
  expect([0, 1, 2, 3, 8].map(pcr)).toEqual([
    IMAGE.pcr0,
    IMAGE.pcr1,
    IMAGE.pcr2,
    "00".repeat(48),
    IMAGE.pcr0,
  ]);
});

test("prints a document of the simulator's own image in base64", async () => {
  const { status, stdout, stderr } = await symphony("attest", "--platform", platform);
  expect(status).toBe(0);
  expect(stderr).toContain("SIMULATED");
  expect(hex(Buffer.from(stdout.trim(), "base64"))).toMatch(/^8444a1013822a0/);
});

test.for([
  { title: "attest without a platform", words: ["attest"] },
  { title: "a PCR that is too short", words: ["attest", "--platform", "x", "--pcr0", "00"] },
  {
    title: "an image twice",
    words: [
      ...["attest", "--platform", "x"],
      ...["--pcr0", IMAGE.pcr0, "--image-sha384", IMAGE.pcr0],
    ],
  },
  { title: "a nonce in text", words: ["attest", "--platform", "x", "--nonce", "nonce"] },
  { title: "PCR 16", words: ["attest", "--platform", "x", "--pcr16", IMAGE.pcr0] },
  { title: "kms without a folder", words: ["kms", "--platform", "x"] },
  { title: "a port that is none", words: ["kms", "--dir", "x", "--platform", "x", "--port", "p"] },
])("refuses $title as usage", async ({ words }) => {
  const placed = words.map((word) => (word === "x" ? join(directory, "usage") : word));
  expect(await symphony(...placed)).toMatchObject({ status: "usage", stdout: "" });
});

test("says how to point an SDK at it", async () => {
  const help = await symphony("kms", "--help");
  expect(help.status).toBe(0);
  for (const words of ["endpoint", "region", "credentials", "signature is NOT verified"]) {
    expect(help.stdout).toContain(words);
  }
  expect((await symphony("attest", "--help")).stdout).toContain("--image-sha384");
});

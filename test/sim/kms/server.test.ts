import { createHash, createHmac } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import {
  CreateKeyCommand,
  DescribeKeyCommand,
  KMSClient,
  type KMSClientConfig,
} from "@aws-sdk/client-kms";
import { afterAll, beforeAll, expect, test } from "vitest";

import { identifyCaller, readCredentials } from "../../../sim/kms/caller.ts";
import { KmsRig, policyOf } from "./rig.ts";

const rig = new KmsRig();
const AUTHORIZATION = `AWS4-HMAC-SHA256 Credential=x/20260921/r/kms/aws4_request, SignedHeaders=host, Signature=${"0".repeat(64)}`;
const ROLE = "arn:aws:iam::111122223333:role/enclave";
const CREDENTIALS = {
  AKID: { secret_access_key: "a secret", principal_arn: ROLE },
  OTHER: { secret_access_key: "another secret", principal_arn: `${ROLE}2` },
};

beforeAll(() => rig.start());
afterAll(() => rig.close());

async function send(init: RequestInit): Promise<unknown> {
  return (await fetch(rig.endpoint, init)).json();
}

test("answers what is no request of its protocol with an error of AWS's naming", async () => {
  const target = { "x-amz-target": "TrentService.Decrypt" };
  const signed = { ...target, authorization: AUTHORIZATION };
  const answers = [
    await send({ method: "GET" }),
    await send({ method: "POST", headers: { "x-amz-target": "Other.Decrypt" }, body: "{}" }),
    await send({
      method: "POST",
      headers: { ...signed, "x-amz-target": "TrentService.Sign" },
      body: "{}",
    }),
    await send({ method: "POST", headers: target, body: "{}" }),
    await send({ method: "POST", headers: { ...target, authorization: "Basic x" }, body: "{}" }),
    await send({ method: "POST", headers: signed, body: "{" }),
    await send({ method: "POST", headers: signed, body: JSON.stringify({ Ciphertext: "" }) }),
    await send({ method: "POST", headers: signed, body: "x".repeat(600_000) }),
  ];
  expect(answers).toMatchObject([
    { __type: "UnknownOperationException" },
    { __type: "UnknownOperationException" },
    { __type: "UnknownOperationException" },
    { __type: "MissingAuthenticationTokenException" },
    { __type: "InvalidSignatureException" },
    { __type: "SerializationException" },
    { __type: "ValidationException" },
    { __type: "ValidationException" },
  ]);
});

test("its keys are files for their owner only, marked as simulated", async () => {
  await rig.client().send(new CreateKeyCommand({}));
  const names = readdirSync(rig.keys);
  expect(names).toHaveLength(1);
  for (const name of names) {
    expect(statSync(join(rig.keys, name)).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(rig.keys, name), "utf8")).toContain("SIMULATED");
  }
});

test("does not start on a folder with something that is no key", async () => {
  const directory = join(rig.directory, "broken");
  mkdirSync(directory);
  writeFileSync(join(directory, "key-12345678-1234-1234-1234-123456789012.json"), "{}");
  await expect(rig.start({ directory })).rejects.toMatchObject({ code: "SCHEMA_CONFIG_MALFORMED" });
});

test("finishes what is under way when it is closed", async () => {
  const server = await rig.start({ directory: join(rig.directory, "closing") });
  const client = rig.client();
  const slow = client.send(new CreateKeyCommand({ KeySpec: "RSA_2048" }));
  const started = new Promise<void>((resolve) => setImmediate(resolve));
  const early = client.send(new CreateKeyCommand({}));
  await Promise.all([early, started]);
  await server.close();
  expect((await slow).KeyMetadata).toMatchObject({ KeySpec: "RSA_2048" });
  await expect(client.send(new CreateKeyCommand({}))).rejects.toThrow();
});

test("[RT-5] with access keys, a signature is verified and names its principal", async () => {
  const directory = join(rig.directory, "signed");
  await rig.start({ directory, credentials: CREDENTIALS, nowMs: Date.now });
  const config = (
    accessKeyId: string,
    secretAccessKey: string,
    more: KMSClientConfig = {},
  ): KMSClientConfig => ({
    region: "sim-local-1",
    endpoint: rig.endpoint,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
    ...more,
  });
  const Policy = policyOf({ Principal: { AWS: ROLE } });
  const owner = new KMSClient(config("AKID", "a secret"));
  const { KeyMetadata } = await owner.send(new CreateKeyCommand({ Policy }));
  const describe = new DescribeKeyCommand({ KeyId: KeyMetadata?.KeyId });
  expect(await owner.send(describe)).toHaveProperty("KeyMetadata");
  const abroad = { region: "eu-west-1" };
  const late = { systemClockOffset: -301_000 };
  for (const [client, name] of [
    [new KMSClient(config("OTHER", "another secret")), "AccessDeniedException"],
    [new KMSClient(config("AKID", "another secret")), "InvalidSignatureException"],
    [new KMSClient(config("NOBODY", "a secret")), "UnrecognizedClientException"],
    [new KMSClient(config("toString", "a secret")), "UnrecognizedClientException"],
    [new KMSClient(config("AKID", "a secret", late)), "InvalidSignatureException"],
    [new KMSClient(config("AKID", "a secret", abroad)), "InvalidSignatureException"],
  ] as const) {
    await expect(client.send(describe)).rejects.toMatchObject({ name });
    client.destroy();
  }
  owner.destroy();
});

test("[RT-5] a signature of one request is none of another", async () => {
  const directory = join(rig.directory, "signed");
  await rig.start({ directory, credentials: CREDENTIALS, nowMs: Date.now });
  const seen: { headers: Record<string, string>; body: string }[] = [];
  const client = new KMSClient({
    region: "sim-local-1",
    endpoint: rig.endpoint,
    credentials: { accessKeyId: "AKID", secretAccessKey: "a secret" },
  });
  client.middlewareStack.add(
    (next) => (args) => {
      const request: unknown = args.request;
      if (request !== null && typeof request === "object" && "headers" in request) {
        const { headers, body } = Object(request);
        seen.push({ headers, body: Buffer.from(body).toString("utf8") });
      }
      return next(args);
    },
    { step: "finalizeRequest", priority: "low" },
  );
  await client.send(new CreateKeyCommand({ Policy: policyOf({}) }));
  client.destroy();
  const [{ headers, body } = { headers: {}, body: "" }] = seen;
  const { host: _host, "content-length": _length, ...sent } = headers;
  const post = (changed: Record<string, string>, text: string): Promise<unknown> =>
    send({ method: "POST", headers: { ...sent, ...changed }, body: text });
  expect(await post({}, body)).toHaveProperty("KeyMetadata");
  const refused = { __type: "InvalidSignatureException" };
  expect(await post({}, body.replace("}", " }"))).toMatchObject(refused);
  expect(await post({ "x-amz-target": "TrentService.ListKeys" }, body)).toMatchObject(refused);
  const other = await fetch(`${rig.endpoint}/other`, { method: "POST", headers: sent, body });
  expect(await other.json()).toMatchObject(refused);
});

/** A signed request whose signature covers `names`, with the scope's service. */
function signed({ names = "host;x-amz-date;x-amz-target", service = "kms" }) {
  const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
  const hmac = (key: Uint8Array, text: string): Buffer =>
    createHmac("sha256", key).update(text).digest();
  const fields = new Map([
    ["host", "127.0.0.1"],
    ["x-amz-date", "20260102T030405Z"],
    ["x-amz-target", "TrentService.Decrypt"],
  ]);
  const lines = names.split(";").map((name) => `${name}:${fields.get(name) ?? ""}\n`);
  const canonical = ["POST", "/", "", lines.join(""), names, sha256("{}")].join("\n");
  const scope = ["20260102", "sim-local-1", service, "aws4_request"];
  const key = scope.reduce(hmac, Buffer.from("AWS4a secret"));
  const text = ["AWS4-HMAC-SHA256", "20260102T030405Z", scope.join("/"), sha256(canonical)];
  const signature = hmac(key, text.join("\n")).toString("hex");
  const authorization = `AWS4-HMAC-SHA256 Credential=AKID/${scope.join("/")}, SignedHeaders=${names}, Signature=${signature}`;
  const headers = { ...Object.fromEntries(fields), authorization };
  return { method: "POST", path: "/", headers, body: Buffer.from("{}") };
}

test("[RT-5] a signature covers the operation, and is for this service", () => {
  const now = Date.parse("2026-01-02T03:04:05Z");
  expect(identifyCaller(signed({}), CREDENTIALS, now)).toBe(ROLE);
  for (const given of [{ names: "host;x-amz-date" }, { service: "s3" }]) {
    expect(() => identifyCaller(signed(given), CREDENTIALS, now)).toThrow(
      expect.objectContaining({ type: "InvalidSignatureException" }),
    );
  }
});

test("reads access keys from a file, and nothing else", () => {
  const path = join(rig.directory, "credentials.json");
  writeFileSync(path, JSON.stringify(CREDENTIALS));
  expect(readCredentials(path)).toEqual(CREDENTIALS);
  for (const text of ["{", "[]", '{"AKID":{"secret_access_key":"x"}}']) {
    writeFileSync(path, text);
    expect(() => readCredentials(path)).toThrow(
      expect.objectContaining({ code: "SCHEMA_CONFIG_MALFORMED" }),
    );
  }
});

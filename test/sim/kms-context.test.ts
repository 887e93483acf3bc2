import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";
import { z } from "zod";

import { createKmsOperations } from "../../sim/kms/operations.ts";

const keySchema = z.object({ KeyMetadata: z.object({ KeyId: z.string() }) });
const sealedSchema = z.object({ CiphertextBlob: z.string() });

test.for([
  { title: "text in another normalization form", name: "e\u0301" },
  { title: "half a character", name: "\ud800" },
  { title: "no text", name: "" },
  { title: "a name that JavaScript keeps for itself", name: "__proto__" },
])("an encryption context may hold $title", async ({ name }) => {
  const directory = mkdtempSync(join(tmpdir(), "symphony-context-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const kms = createKmsOperations({
    directory,
    anchors: [],
    nowMs: () => 0,
    random: (bytes) => new Uint8Array(bytes),
  });
  const { KeyId } = keySchema.parse(await kms("CreateKey", {})).KeyMetadata;
  const EncryptionContext = { [name]: name, other: "value" };
  const request = { KeyId, Plaintext: "AA==", EncryptionContext };
  const { CiphertextBlob } = sealedSchema.parse(await kms("Encrypt", request));
  const other = { other: "value", [name]: name };
  await expect(kms("Decrypt", { CiphertextBlob, EncryptionContext: other })).resolves.toMatchObject(
    {
      Plaintext: "AA==",
    },
  );
  await expect(
    kms("Encrypt", { ...request, EncryptionContext: { [name]: 1 } }),
  ).rejects.toMatchObject({ type: "ValidationException" });
  for (const less of [{}, { other: "value" }]) {
    await expect(kms("Decrypt", { CiphertextBlob, EncryptionContext: less })).rejects.toMatchObject(
      { type: "InvalidCiphertextException" },
    );
  }
});

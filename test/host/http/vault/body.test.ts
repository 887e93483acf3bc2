import { PassThrough } from "node:stream";

import { expect, test } from "vitest";

import { streamedBody, takeBytes } from "../../../../host/http/vault/body.ts";
import { createServer } from "../../../../host/http/index.ts";

async function* chunksOf(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield await Promise.resolve(new TextEncoder().encode(text));
}

async function textOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test.for([
  { count: 0, head: "", rest: "abcdef" },
  { count: 1, head: "a", rest: "bcdef" },
  { count: 3, head: "abc", rest: "def" },
  { count: 4, head: "abcd", rest: "ef" },
  { count: 6, head: "abcdef", rest: "" },
])("takes $count bytes off a stream and leaves the others", async ({ count, head, rest }) => {
  const taken = await takeBytes(chunksOf("abc", "", "def"), count);
  expect(Buffer.from(taken.head).toString()).toBe(head);
  expect(await textOf(taken.rest)).toBe(rest);
});

test("a stream that is too short is refused", async () => {
  await expect(takeBytes(chunksOf("abc"), 4)).rejects.toMatchObject({
    code: "SCHEMA_MALFORMED",
    details: { field: "body" },
  });
});

test("a body that is gathered, or none, is refused", () => {
  for (const body of [undefined, {}, new Uint8Array(1)]) {
    expect(() => streamedBody(body, "a source")).toThrow("body: expected a source");
  }
});

test("a sender who says nothing any more is given up", async () => {
  const body = new PassThrough();
  body.write("abc");
  await expect(textOf(streamedBody(body, "a source", 20))).rejects.toMatchObject({
    code: "COORDINATION_UNAVAILABLE",
  });
  expect(body.destroyed).toBe(true);
});

test("a connection that ends in the middle is said as such", async () => {
  const body = new PassThrough();
  body.write("abc");
  body.destroy(Object.assign(new Error("aborted"), { code: "ECONNRESET" }));
  await expect(textOf(streamedBody(body, "a source"))).rejects.toMatchObject({
    code: "COORDINATION_UNAVAILABLE",
  });
});

test("a server gives up a request after a minute, or when it is told to", () => {
  const report = (): undefined => undefined;
  expect(createServer({ report }).server.requestTimeout).toBe(60_000);
  expect(createServer({ report, requestMsMax: 7_000 }).server.requestTimeout).toBe(7_000);
});

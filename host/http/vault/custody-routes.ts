import { Readable } from "node:stream";

import type { FastifyInstance } from "fastify";
import { identifier, parseWith } from "#protocol";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import type { VaultRoutesContext } from "./context.ts";
import type { Jobs } from "./jobs.ts";

const rotateBody = z.strictObject({ reencrypt: z.boolean().default(false) });
const subjectBody = z.strictObject({ subject: z.string().min(1).max(1024) });
const jobQuery = z.strictObject({ job: z.coerce.number().int().min(1) });
const taskQuery = z.strictObject({ task: identifier });

/** Keys, erasure, and what a subject may ask for. */
export function addCustodyRoutes(
  server: FastifyInstance,
  { vault }: VaultRoutesContext,
  jobs: Jobs,
): void {
  const { custody } = vault;
  server.post("/v1/vault/keys/rotate", async (request) => {
    const { reencrypt } = parseWith(rotateBody, request.body, "body");
    return jobs.start((report) =>
      reencrypt ? custody.reencrypt(report) : custody.rotateKeys(report),
    );
  });
  // A subject's name is no part of a path, which servers in between write down.
  server.post("/v1/vault/subjects/erase", async (request) => {
    const { subject } = parseWith(subjectBody, request.body, "body");
    return jobs.start((report) => custody.eraseSubject(subject, report));
  });
  server.post("/v1/vault/subjects/export", async (request, reply) => {
    const { subject } = parseWith(subjectBody, request.body, "body");
    const lines = custody.exportSubject(subject);
    // What is refused is refused before the first byte.
    const first = await lines.next();
    async function* body(): AsyncGenerator<string> {
      if (first.done !== true) yield `${JSON.stringify(first.value)}\n`;
      for await (const line of lines) yield `${JSON.stringify(line)}\n`;
    }
    return reply.type("application/jsonl").send(Readable.from(body()));
  });
  server.get("/v1/vault/jobs", async (request) =>
    plainJson(jobs.get(parseWith(jobQuery, request.query, "query").job)),
  );
  server.get("/v1/vault/replayable", async (request) =>
    custody.replayable(parseWith(taskQuery, request.query, "query").task),
  );
}

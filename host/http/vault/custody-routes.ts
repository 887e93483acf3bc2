import { Readable } from "node:stream";

import type { FastifyInstance } from "fastify";
import { identifier } from "#protocol";
import { z } from "zod";

import { plainJson } from "../plain-json.ts";
import { addRoute, content, fromBody, fromQuery, json } from "../route.ts";
import { jobStateAnswer, replayableAnswer } from "./answers.ts";
import type { VaultRoutesContext } from "./context.ts";
import { jobAnswer, type Jobs } from "./jobs.ts";

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
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/keys/rotate",
    summary: "Starts new master keys, and all batches under new keys when asked.",
    takes: fromBody(rotateBody),
    gives: json(jobAnswer),
    handle: async ({ reencrypt }) =>
      jobs.start((report) => (reencrypt ? custody.reencrypt(report) : custody.rotateKeys(report))),
  });
  // A subject's name is no part of a path, which servers in between write down.
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/subjects/erase",
    summary: "Starts the erasure of a subject.",
    takes: fromBody(subjectBody),
    gives: json(jobAnswer),
    handle: async ({ subject }) => jobs.start((report) => custody.eraseSubject(subject, report)),
  });
  addRoute(server, {
    method: "POST",
    path: "/v1/vault/subjects/export",
    summary: "Gives everything the Vault holds of a subject, one JSON object a line.",
    takes: fromBody(subjectBody),
    gives: content("application/jsonl"),
    handle: async ({ subject }) => {
      const lines = custody.exportSubject(subject);
      // What is refused is refused before the first byte.
      const first = await lines.next();
      async function* body(): AsyncGenerator<string> {
        if (first.done !== true) yield `${JSON.stringify(first.value)}\n`;
        for await (const line of lines) yield `${JSON.stringify(line)}\n`;
      }
      return Readable.from(body());
    },
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/jobs",
    summary: "Says how long work stands.",
    takes: fromQuery(jobQuery),
    gives: json(jobStateAnswer),
    handle: async ({ job }) => plainJson(jobs.get(job)),
  });
  addRoute(server, {
    method: "GET",
    path: "/v1/vault/replayable",
    summary: "Says whether a task's inputs are still whole.",
    takes: fromQuery(taskQuery),
    gives: json(replayableAnswer),
    handle: async ({ task }) => custody.replayable(task),
  });
}

import { UnavailableError, hex, utf8Text } from "#protocol";
import { z } from "zod";

import type { GrantState, IngestFormat } from "../../sovereignty/index.ts";
import { RemoteProblem } from "../task-client.ts";
import {
  grantsAnswer,
  ingestReportSchema,
  ingestsSchema,
  publishedSchema,
  quarantinedSchema,
  recordsSchema,
  statusAnswer,
} from "./answers.ts";
import { SOURCE_TYPE } from "./body.ts";

/** What an ingest did; see the Vault's own report. */
export type IngestAnswer = z.infer<typeof ingestReportSchema>;

/** What is put into a Vault. */
export interface IngestCall {
  readonly scope: string;
  readonly format: IngestFormat;
  /** What the source is called; absent: nothing. */
  readonly name?: string;
  readonly onError: "abort" | "quarantine";
  /** A mapping file; absent: every attribute from the column of its own name. */
  readonly mapping?: Uint8Array;
  readonly source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Ends the sending; what the Vault has staged stays for the next time. */
  readonly signal?: AbortSignal;
}

const problemSchema = z.object({ code: z.string(), detail: z.string() });

/** Parameters of a path; absent ones are left out. */
export type VaultQuery = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * A Vault as its operator uses it.
 *
 * Every call throws {@link RemoteProblem} with the Vault's own code, or UnavailableError COORDINATION_UNAVAILABLE
 * when nobody answers. Ingest and bulk import may take long; nothing else does.
 */
export class VaultClient {
  readonly #url: string;
  readonly #token: string;

  constructor(operator: { readonly url: string; readonly token: string }) {
    this.#url = operator.url;
    this.#token = operator.token;
  }

  /** Sends a source as it is read. Throws what the source throws, too. */
  async ingest(args: IngestCall): Promise<IngestAnswer> {
    const { scope, format, name, onError, mapping = new Uint8Array(0), signal } = args;
    const how = { source: name, on_error: onError, mapping_bytes: mapping.length };
    const query = { scope, format, ...how };
    const failures: unknown[] = [];
    const source = noting(args.source, failures);
    const body = ReadableStream.from(following(mapping, source));
    const answer = this.upload("/v1/vault/ingests", {
      ...{ query, type: SOURCE_TYPE, body },
      ...(signal === undefined ? {} : { signal }),
    });
    return ingestReportSchema.parse(
      await answer.catch((error: unknown) => {
        throw failures.length > 0 ? failures[0] : error;
      }),
    );
  }

  /** What became of a source that was published before; null for one that has to be sent. */
  async published(source: {
    readonly scope: string;
    readonly format: IngestFormat;
    /** SHA-256 of the source's bytes. */
    readonly digest: Uint8Array;
    readonly mapping?: Uint8Array | undefined;
  }): Promise<IngestAnswer | null> {
    const { scope, format, digest, mapping = new Uint8Array(0) } = source;
    const body = { scope, format, digest: hex(digest), mapping: utf8Text(mapping) };
    return publishedSchema.parse(await this.post("/v1/vault/ingests/published", body)).published;
  }

  /** Open ingests, oldest first, and the last published ones, newest first. */
  async ingests() {
    return ingestsSchema.parse(await this.get("/v1/vault/ingests"));
  }

  /** Rows that an ingest left out, after line `after`. */
  async quarantined(args: { readonly ingest: string; readonly after: number; limit: number }) {
    return z.array(quarantinedSchema).parse(await this.get("/v1/vault/ingests/quarantine", args));
  }

  /** Removes an interrupted ingest and what it has staged. */
  async abandonIngest(ingestId: string): Promise<unknown> {
    return this.post("/v1/vault/ingests/abandon", { ingest_id: ingestId });
  }

  /** One page of a scope's records; the next begins after `next`, null after the last. */
  async records(page: {
    readonly scope: string;
    readonly after?: string | undefined;
    readonly limit?: number | undefined;
  }) {
    return recordsSchema.parse(await this.get("/v1/vault/records", page));
  }

  /** How the Vault stands. */
  async status(): Promise<z.infer<typeof statusAnswer>> {
    return statusAnswer.parse(await this.get("/v1/vault/status"));
  }

  async setConsent(consent: {
    readonly usage_scope: string;
    readonly subjects: "all-known" | readonly string[];
    readonly state: string;
    readonly expires_ms?: number | null;
  }): Promise<unknown> {
    return this.post("/v1/vault/consent", consent);
  }

  async grant(grant: Readonly<Record<string, string | number | null>>): Promise<unknown> {
    return this.post("/v1/vault/grants", grant);
  }

  /** One page of grants; the next begins after `next`, null after the last. */
  async grants(filter: {
    readonly actor?: string | undefined;
    readonly state?: GrantState | undefined;
    readonly after?: string | undefined;
    readonly limit?: number | undefined;
  }): Promise<z.infer<typeof grantsAnswer>> {
    return grantsAnswer.parse(await this.get("/v1/vault/grants", filter));
  }

  async revokeGrant(grantId: string, reason?: string): Promise<unknown> {
    return this.post("/v1/vault/grants/revoke", { grant_id: grantId, reason });
  }

  /** Reads `path`; the answer is JSON that the caller parses. */
  get(path: string, query: VaultQuery = {}): Promise<unknown> {
    return this.#send(withQuery(path, query), {});
  }

  /** Posts JSON to `path`; the answer is JSON that the caller parses. */
  post(path: string, body: unknown): Promise<unknown> {
    return this.#send(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }

  /** Posts JSON to `path`; the answer is text that comes in pieces. */
  async *lines(path: string, body: unknown): AsyncGenerator<string> {
    const response = await this.#ask(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    const decoder = new TextDecoder("utf-8", { fatal: true });
    if (response.body === null) return;
    try {
      for await (const bytes of response.body) yield decoder.decode(bytes, { stream: true });
    } catch (cause) {
      throw unanswered(this.#url, cause);
    }
    yield decoder.decode();
  }

  /** Posts bytes of a content type to `path`, streaming when `body` is a stream. */
  upload(
    path: string,
    args: {
      readonly query: VaultQuery;
      readonly type: string;
      readonly body: ReadableStream | Uint8Array;
      readonly signal?: AbortSignal;
    },
  ): Promise<unknown> {
    const body = args.body instanceof Uint8Array ? Buffer.from(args.body) : args.body;
    return this.#send(withQuery(path, args.query), {
      method: "POST",
      headers: { "content-type": args.type },
      body,
      duplex: "half",
      ...(args.signal === undefined ? {} : { signal: args.signal }),
    });
  }

  async #send(path: string, init: RequestInit): Promise<unknown> {
    return (await this.#ask(path, init)).json();
  }

  async #ask(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(`${this.#url}${path}`, {
        ...init,
        redirect: "error",
        headers: withToken(init.headers, this.#token),
      });
    } catch (cause) {
      throw unanswered(this.#url, cause);
    }
    if (response.ok) return response;
    const problem = problemSchema.safeParse(await response.json().catch(() => undefined));
    throw new RemoteProblem(
      response.status,
      problem.success ? problem.data.code : "INTERNAL_UNEXPECTED",
      problem.success ? problem.data.detail : `status ${response.status}`,
    );
  }
}

async function* following(
  head: Uint8Array,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (head.length > 0) yield head;
  yield* source;
}

/** Passes `source` on and keeps what it throws, which `fetch` hides. */
async function* noting(
  source: IngestCall["source"],
  failures: unknown[],
): AsyncGenerator<Uint8Array> {
  try {
    yield* source;
  } catch (error) {
    failures.push(error);
    throw error;
  }
}

function withQuery(path: string, query: VaultQuery): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) given.set(name, String(value));
  }
  return given.size === 0 ? path : `${path}?${given.toString()}`;
}

function withToken(headers: RequestInit["headers"], token: string): Headers {
  const all = new Headers(headers);
  all.set("authorization", `Bearer ${token}`);
  return all;
}

function unanswered(url: string, cause: unknown): UnavailableError {
  return new UnavailableError(
    { code: "COORDINATION_UNAVAILABLE", url },
    `vault: expected an answer at ${url}, got none`,
    { cause },
  );
}

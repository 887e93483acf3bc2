import { UnavailableError } from "#protocol";
import { z } from "zod";

import { RemoteProblem } from "../task-client.ts";

const reportSchema = z.object({
  records: z.number(),
  batches: z.number(),
  quarantined: z.number(),
});

const recordsSchema = z.array(
  z.object({ commitment: z.string(), batch_id: z.string(), row: z.number() }),
);

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

  async ingestCsv(args: {
    readonly scope: string;
    readonly onError: "abort" | "quarantine";
    readonly body: ReadableStream | Uint8Array;
  }) {
    const { scope, onError, body } = args;
    const query = { scope, on_error: onError };
    return reportSchema.parse(
      await this.upload("/v1/vault/ingest", { query, type: "text/csv", body }),
    );
  }

  async ingestDocument(args: {
    readonly scope: string;
    readonly subject: string;
    readonly name: string;
    readonly image: Uint8Array;
  }) {
    const { image: body, ...query } = args;
    const type = "application/octet-stream";
    return reportSchema.parse(await this.upload("/v1/vault/documents", { query, type, body }));
  }

  async records(scope: string) {
    return recordsSchema.parse(await this.get("/v1/vault/records", { scope }));
  }

  async status(): Promise<unknown> {
    return this.get("/v1/vault/status");
  }

  async setConsent(consent: {
    readonly usage_scope: string;
    readonly subjects: "all-known" | readonly string[];
    readonly state: string;
  }): Promise<unknown> {
    return this.post("/v1/vault/consent", consent);
  }

  async grant(grant: Readonly<Record<string, string | number | null>>): Promise<unknown> {
    return this.post("/v1/vault/grants", grant);
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

  /** Posts bytes of a content type to `path`, streaming when `body` is a stream. */
  upload(
    path: string,
    args: {
      readonly query: VaultQuery;
      readonly type: string;
      readonly body: ReadableStream | Uint8Array;
    },
  ): Promise<unknown> {
    const body = args.body instanceof Uint8Array ? Buffer.from(args.body) : args.body;
    return this.#send(withQuery(path, args.query), {
      method: "POST",
      headers: { "content-type": args.type },
      body,
      duplex: "half",
    });
  }

  async #send(path: string, init: RequestInit): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(`${this.#url}${path}`, {
        ...init,
        redirect: "error",
        headers: withToken(init.headers, this.#token),
      });
    } catch (cause) {
      throw new UnavailableError(
        { code: "COORDINATION_UNAVAILABLE", url: this.#url },
        `vault: expected an answer at ${this.#url}, got none`,
        { cause },
      );
    }
    if (response.ok) return response.json();
    const problem = problemSchema.safeParse(await response.json().catch(() => undefined));
    throw new RemoteProblem(
      response.status,
      problem.success ? problem.data.code : "INTERNAL_UNEXPECTED",
      problem.success ? problem.data.detail : `status ${response.status}`,
    );
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

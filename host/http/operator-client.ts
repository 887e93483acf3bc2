import { UnavailableError } from "#protocol";
import { z } from "zod";

import { RemoteProblem } from "./task-client.ts";

const reportSchema = z.object({
  records: z.number(),
  batches: z.number(),
  quarantined: z.number(),
});

const recordsSchema = z.array(
  z.object({ commitment: z.string(), batch_id: z.string(), row: z.number() }),
);

const problemSchema = z.object({ code: z.string(), detail: z.string() });

/** A Vault as its operator uses it. Ingest may take long; nothing else does. */
export class OperatorClient {
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
    const query = new URLSearchParams({ scope: args.scope, on_error: args.onError });
    const body = args.body instanceof Uint8Array ? Buffer.from(args.body) : args.body;
    return reportSchema.parse(
      await this.#send(`/v1/operator/ingest?${query.toString()}`, {
        method: "POST",
        headers: { "content-type": "text/csv" },
        body,
        duplex: "half",
      }),
    );
  }

  async ingestDocument(args: {
    readonly scope: string;
    readonly subject: string;
    readonly name: string;
    readonly image: Uint8Array;
  }) {
    const query = new URLSearchParams({
      scope: args.scope,
      subject: args.subject,
      name: args.name,
    });
    return reportSchema.parse(
      await this.#send(`/v1/operator/documents?${query.toString()}`, {
        method: "POST",
        headers: { "content-type": "application/octet-stream" },
        body: Buffer.from(args.image),
      }),
    );
  }

  async records(scope: string) {
    const query = new URLSearchParams({ scope });
    return recordsSchema.parse(await this.#send(`/v1/operator/records?${query.toString()}`, {}));
  }

  async status(): Promise<unknown> {
    return this.#send("/v1/operator/status", {});
  }

  async setConsent(consent: {
    readonly usage_scope: string;
    readonly subjects: "all-known" | readonly string[];
    readonly state: string;
  }): Promise<unknown> {
    return this.#post("/v1/operator/consent", consent);
  }

  async grant(grant: Readonly<Record<string, string | number | null>>): Promise<unknown> {
    return this.#post("/v1/operator/grants", grant);
  }

  async revokeGrant(grantId: string): Promise<unknown> {
    return this.#post("/v1/operator/grants/revoke", { grant_id: grantId });
  }

  #post(path: string, body: unknown): Promise<unknown> {
    return this.#send(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
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

function withToken(headers: RequestInit["headers"], token: string): Headers {
  const all = new Headers(headers);
  all.set("authorization", `Bearer ${token}`);
  return all;
}

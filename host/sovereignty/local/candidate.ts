import {
  laplaceScaleFor,
  noiseStream,
  releaseCount,
  sampleDiscreteLaplace,
  type NoiseStream,
} from "#aggregation";
import {
  ConflictError,
  LOCAL_ATTRIBUTE_CANDIDATE,
  LimitError,
  RefusedError,
  lastWindow,
  localTypeSchema,
  mappingSignals,
  parseCose,
  requireWindow,
  type CandidateWindow,
  type GovernanceState,
  type LocalAttributeCandidate,
  type LocalType,
} from "#protocol";

import type { Reading, Writing } from "../queries.ts";
import type { VaultContext } from "../vault-context.ts";
import { mostOf } from "./column-tallies.ts";
import { localIdOf } from "./list-pool.ts";

/**
 * What the two statements about rows and about the type cost one row, micro-epsilon, each; and candidates of a record
 * scope that speak of one epoch. No row contributes more than 800 000 micro-epsilon, ever.
 */
const EPSILON_MICRO = 50_000;
const CANDIDATES_OF_EPOCH_MAX = 8;
/** A row that comes or goes changes which 256 values of its source are looked at: one more, one less. */
const TYPE_SENSITIVITY = 2;

/** See {@link makeCandidate}. */
export interface CandidateAsked {
  readonly recordScope: string;
  readonly column: string;
  /** What the attribute is to be called. */
  readonly attributeId: string;
  /** The last regular window of the domain when null. */
  readonly window: CandidateWindow | null;
  /** The proposal that allows another window; null for none. */
  readonly exception: string | null;
  readonly governance: GovernanceState;
}

/**
 * Signs a candidate summary of one column (LA-2): what may leave the Vault about it. The same column and window again
 * give the same bytes, so that asking often tells no more.
 *
 * @throws {@link RefusedError} DERIVATION_CANDIDATE_REFUSED for a window that is not one, and a column with too few rows
 * @throws {@link LimitError} POLICY_LIMIT_EXCEEDED for the ninth candidate of a scope and epoch
 * @throws {@link ConflictError} DERIVATION_CANDIDATE_REFUSED for a column that was a candidate for another attribute
 */
export async function makeCandidate(context: VaultContext, asked: CandidateAsked) {
  return await context.store.write(async (trx) => {
    const { recordScope, column, governance } = asked;
    const rows = await rowsOf(trx, recordScope, column);
    const domainId = rows.at(-1)?.domain_id;
    if (domainId === undefined) throw tooFew();
    const window = asked.window ?? lastWindow(governance, domainId);
    requireWindow(governance, window, { ...asked, domainId });
    const known = await candidateOf(trx, asked, window);
    if (known !== undefined) return sameSubject(context, known.signed, asked);
    await requireRoom(trx, recordScope, window);
    const within = rows.filter(
      ({ epoch_id: epoch }) => epoch >= window.first_epoch && epoch <= window.last_epoch,
    );
    const candidate = summaryOf(context, { ...asked, window, domainId, rows: within });
    const signed = LOCAL_ATTRIBUTE_CANDIDATE.sign(candidate, context.signingKey);
    await trx
      .insertInto("local_candidate")
      .values({ record_scope: recordScope, column_name: column, ...window, signed })
      .execute();
    const { local_id, attribute_id, epsilon_micro } = candidate;
    const digest = LOCAL_ATTRIBUTE_CANDIDATE.digest(candidate);
    await context.log.append(trx, {
      ...{ type: "local_attribute.summarized", taskId: null },
      body: { record_scope: recordScope, local_id, attribute_id, window, epsilon_micro, digest },
    });
    return { candidate, signed };
  });
}

type PoolRow = Awaited<ReturnType<typeof rowsOf>>[number];

async function rowsOf(db: Reading, recordScope: string, column: string) {
  return await db
    .selectFrom("local_attribute")
    .selectAll()
    .where("record_scope", "=", recordScope)
    .where("column_name", "=", column)
    .orderBy("epoch_id")
    .execute();
}

async function candidateOf(trx: Writing, asked: CandidateAsked, window: CandidateWindow) {
  return await trx
    .selectFrom("local_candidate")
    .select("signed")
    .where("record_scope", "=", asked.recordScope)
    .where("column_name", "=", asked.column)
    .where("first_epoch", "=", window.first_epoch)
    .where("last_epoch", "=", window.last_epoch)
    .executeTakeFirst();
}

function sameSubject(
  { signingKey }: VaultContext,
  signed: Uint8Array,
  { attributeId }: CandidateAsked,
) {
  const candidate = LOCAL_ATTRIBUTE_CANDIDATE.decode(parseCose(signed).payload);
  // Equal bytes, but for the key: the Vault may have another by now.
  const again = LOCAL_ATTRIBUTE_CANDIDATE.sign(candidate, signingKey);
  if (candidate.attribute_id === attributeId) return { candidate, signed: again };
  throw new ConflictError(
    { code: "DERIVATION_CANDIDATE_REFUSED", attribute_id: candidate.attribute_id },
    `attribute_id: expected ${candidate.attribute_id}, for which the column is a candidate, got ${attributeId}`,
  );
}

/** Every epoch of the window is spoken of by fewer candidates than there may be. */
async function requireRoom(trx: Writing, recordScope: string, window: CandidateWindow) {
  const touching = await trx
    .selectFrom("local_candidate")
    .select(["first_epoch", "last_epoch"])
    .where("record_scope", "=", recordScope)
    .where("first_epoch", "<=", window.last_epoch)
    .where("last_epoch", ">=", window.first_epoch)
    .execute();
  if (touching.length < CANDIDATES_OF_EPOCH_MAX) return;
  throw new LimitError(
    { code: "POLICY_LIMIT_EXCEEDED", max: CANDIDATES_OF_EPOCH_MAX },
    `candidates: expected at most ${CANDIDATES_OF_EPOCH_MAX} of a record scope in one epoch, got another`,
  );
}

interface Summed extends CandidateAsked {
  readonly window: CandidateWindow;
  readonly domainId: string;
  readonly rows: readonly PoolRow[];
}

function summaryOf(context: VaultContext, args: Summed): LocalAttributeCandidate {
  const { recordScope, column, window, governance, domainId, rows } = args;
  const { secrets, vaultId } = context;
  const key = secrets.candidateNoise({ recordScope, column, window });
  const counts = noisedRows(key, rows, governance);
  if (counts.length === 0) throw tooFew();
  const type = noisedType(noiseStream(key, "type"), rows);
  const { semantics, genesisDigest } = governance;
  const [signals = []] = mappingSignals(semantics, [{ name: column, domainId, type }]);
  return {
    ...{ genesis_digest: genesisDigest, vault_id: vaultId, domain_id: domainId },
    attribute_id: args.attributeId,
    local_id: localIdOf(secrets.localColumnId(recordScope, column)),
    semantic_version: semantics.semantic_version,
    ...{ window, type },
    noised_rows: counts.reduce((sum, count) => sum + count, 0),
    epochs_present: counts.length,
    epsilon_micro: 2 * EPSILON_MICRO,
    signals,
  };
}

/** One noised count for each epoch that has enough rows to be spoken of. A row is in one epoch, so all cost what one does. */
function noisedRows(
  key: Uint8Array,
  rows: readonly PoolRow[],
  { policy }: GovernanceState,
): number[] {
  const charge = { epsilonMicro: EPSILON_MICRO, sensitivity: 1 };
  const scale = laplaceScaleFor({ ...charge, rounds: 1 });
  return rows.flatMap(({ epoch_id: epoch, rows: exact }) => {
    const noise = sampleDiscreteLaplace(noiseStream(key, `rows/${epoch}`), scale);
    const { minimum_result_cardinality: k, delta_pico: deltaPico } = policy.privacy;
    const noisy = exact + Number(noise);
    const { value } = releaseCount({ exact, noisy, k: Math.max(1, k), deltaPico, ...charge });
    return value === null ? [] : [value];
  });
}

/** The type with the highest noised count of values. */
function noisedType(stream: NoiseStream, rows: readonly PoolRow[]): LocalType {
  const scale = laplaceScaleFor({
    ...{ epsilonMicro: EPSILON_MICRO, sensitivity: TYPE_SENSITIVITY, rounds: 1 },
  });
  const counts = { integer: 0, decimal: 0, date: 0, text: 0 };
  for (const row of rows) {
    counts.integer += row.integer_values;
    counts.decimal += row.decimal_values;
    counts.date += row.date_values;
    counts.text += row.text_values;
  }
  for (const type of localTypeSchema.options) {
    counts[type] += Number(sampleDiscreteLaplace(stream, scale));
  }
  return mostOf(counts);
}

function tooFew(): RefusedError {
  return new RefusedError(
    { code: "DERIVATION_CANDIDATE_REFUSED", field: "column" },
    "column: expected one that enough rows of the window had, got fewer",
  );
}

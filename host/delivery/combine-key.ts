import {
  DELIVERY_SHARE,
  SEAL_INFO,
  SymphonyError,
  UnavailableError,
  VerificationError,
  activeActor,
  taskKeyOf,
  assertCommitment,
  combineShares,
  equalBytes,
  keyCommitment,
  open,
  type BoxKeyPair,
  type Delivery,
  type ErrorCode,
  type ExecutionResultBundle,
  type GovernanceState,
} from "#protocol";

/** Sets of shares that are tried for one key; a network of few Vaults has fewer. */
const TRIES_MAX = 4096;

/** The Vault of a share that the key was found without, and why. */
export interface PassedOver {
  readonly vaultId: string;
  readonly code: ErrorCode;
}

/** See {@link combineKey}. */
export interface KeyShares {
  readonly shares: Delivery["shares"];
  readonly bundle: ExecutionResultBundle;
  readonly envelopeDigest: Uint8Array;
  readonly deliveryKey: BoxKeyPair;
  readonly governance: GovernanceState;
}

interface OpenShare {
  readonly vaultId: string;
  readonly share: Uint8Array;
}

/**
 * Puts a result's key together from the shares of any quorum that gives the key committed to.
 *
 * The bundle commits to the key and to each share as it was sealed to its Vault, not to a share by itself. So a share
 * that its Vault signed and spoilt shows only in the key it gives: sets of shares are tried, at most 4 096, and once
 * the key is known every other share is judged by it.
 *
 * @throws {@link UnavailableError} DELIVERY_NOT_READY with too few shares; what is wrong with the first that is, when
 * the others are too few. {@link VerificationError} PROOF_COMMITMENT_MISMATCH when no set gives the key.
 */
export async function combineKey(
  args: KeyShares,
): Promise<{ readonly key: Uint8Array; readonly passedOver: readonly PassedOver[] }> {
  const { share_threshold: threshold } = args.bundle;
  const { opened, faults } = await openShares(args);
  if (opened.length < threshold) throw faults[0]?.error ?? notReady(threshold, opened.length);
  const { key, used } = await firstKey(opened, args.bundle);
  const passedOver = faults.map(({ vaultId, error }) => ({ vaultId, code: error.code }));
  for (const other of opened.filter((each) => !used.includes(each))) {
    const again = await keyOf([...used.slice(1), other], args.bundle);
    const code = "PROOF_COMMITMENT_MISMATCH";
    if (again === undefined) passedOver.push({ vaultId: other.vaultId, code });
  }
  return { key, passedOver };
}

async function openShares(args: KeyShares) {
  const opened: OpenShare[] = [];
  const faults: { readonly vaultId: string; readonly error: SymphonyError }[] = [];
  for (const { vault_id: vaultId, signed } of args.shares) {
    if (opened.some((each) => each.vaultId === vaultId)) continue;
    try {
      opened.push({ vaultId, share: await openShare(args, vaultId, signed) });
    } catch (error) {
      if (!(error instanceof SymphonyError)) throw error;
      faults.push({ vaultId, error });
    }
  }
  return { opened, faults };
}

async function openShare(
  { bundle, envelopeDigest, deliveryKey, governance }: KeyShares,
  vaultId: string,
  signed: Uint8Array,
): Promise<Uint8Array> {
  const share = DELIVERY_SHARE.verify(
    signed,
    taskKeyOf(activeActor(governance, vaultId), signed, 0),
  );
  assertCommitment(share.envelope_digest, envelopeDigest, "delivery share envelope");
  assertCommitment(bundle.output_commitment, share.output_commitment, "delivery share outcome");
  return await open({
    key: deliveryKey,
    info: SEAL_INFO.deliveryShare,
    aad: envelopeDigest,
    sealed: share.sealed_share,
  });
}

async function firstKey(opened: readonly OpenShare[], bundle: ExecutionResultBundle) {
  let tries = 0;
  for (const used of subsetsOf(opened, bundle.share_threshold)) {
    const key = await keyOf(used, bundle);
    if (key !== undefined) return { key, used };
    tries += 1;
    if (tries === TRIES_MAX) break;
  }
  throw new VerificationError(
    { code: "PROOF_COMMITMENT_MISMATCH", shares: opened.length, tries },
    `result key: expected the one committed to from ${opened.length} shares, got another from each of ${tries} sets`,
  );
}

/** The key of these shares when it is the one committed to. */
async function keyOf(
  shares: readonly OpenShare[],
  bundle: ExecutionResultBundle,
): Promise<Uint8Array | undefined> {
  try {
    const key = await combineShares(shares.map(({ share }) => share));
    return equalBytes(keyCommitment(key), bundle.key_commitment) ? key : undefined;
  } catch (error) {
    if (error instanceof SymphonyError) return undefined;
    throw error;
  }
}

/** All sets of `count` items, each in the order of `items`. */
function* subsetsOf<T>(items: readonly T[], count: number): Generator<readonly T[]> {
  if (count === 0) return yield [];
  for (const [index, item] of items.entries()) {
    if (items.length - index < count) return;
    for (const rest of subsetsOf(items.slice(index + 1), count - 1)) yield [item, ...rest];
  }
}

function notReady(expected: number, actual: number): UnavailableError {
  return new UnavailableError(
    { code: "DELIVERY_NOT_READY", expected, actual },
    `result: expected shares of ${expected} Vaults, got ${actual}`,
  );
}

import fc from "fast-check";
import { expect, test } from "vitest";

import { SymphonyError, combineShares, concat, splitSecret } from "#protocol";

const malformed = { class: "malformed", code: "SCHEMA_MALFORMED" };
const secret = Uint8Array.from({ length: 32 }, (_, at) => at + 1);

test("any shares at or above the threshold give the secret back", async () => {
  const anything = fc.record({
    secret: fc.uint8Array({ minLength: 1, maxLength: 40 }),
    shares: fc.integer({ min: 1, max: 9 }),
    threshold: fc.integer({ min: 1, max: 9 }),
    order: fc.infiniteStream(fc.nat()),
  });
  await fc.assert(
    fc.asyncProperty(anything, async ({ order, ...args }) => {
      const threshold = Math.min(args.threshold, args.shares);
      const shares = await splitSecret({ ...args, threshold });
      expect(shares).toHaveLength(args.shares);
      const shuffled = shares
        .map((share) => ({ share, at: order.next().value }))
        .sort((left, right) => left.at - right.at)
        .map(({ share }) => share);
      for (let count = threshold; count <= args.shares; count += 1) {
        expect(await combineShares(shuffled.slice(0, count))).toEqual(args.secret);
      }
    }),
    { numRuns: 40 },
  );
});

test("255 shares are possible", async () => {
  const shares = await splitSecret({ secret, shares: 255, threshold: 255 });
  expect(await combineShares(shares)).toEqual(secret);
});

test("fewer shares than the threshold are refused and hold no byte of the secret in place", async () => {
  const shares = await splitSecret({ secret, shares: 5, threshold: 3 });
  await expect(combineShares(shares.slice(0, 2))).rejects.toMatchObject(malformed);
  // The threshold byte is not authenticated: lowering it gives other bytes, which the commitment refuses.
  const lowered = shares.slice(0, 2).map((share) => share.with(0, 2));
  expect(await combineShares(lowered)).not.toEqual(secret);
});

test("with threshold 1 a share is a tagged copy, and differing copies are refused", async () => {
  const [one, two] = await splitSecret({ secret, shares: 2, threshold: 1 });
  expect(one).toEqual(concat(Uint8Array.of(1), secret));
  expect(two).toEqual(one);
  const altered = one?.with(5, 99) ?? secret;
  await expect(combineShares([altered, two ?? secret])).rejects.toMatchObject(malformed);
});

test("shares of another splitting or altered ones give another secret", async () => {
  const shares = await splitSecret({ secret, shares: 3, threshold: 2 });
  const [first = secret, second = secret] = shares;
  const altered = first.with(1, (first[1] ?? 0) ^ 1);
  expect(await combineShares([altered, second])).not.toEqual(secret);
});

test.for<{ title: string; damage: (shares: Uint8Array[]) => Uint8Array[] }>([
  { title: "none", damage: () => [] },
  { title: "empty ones", damage: () => [new Uint8Array(0), new Uint8Array(0)] },
  { title: "threshold zero", damage: (shares) => shares.map((share) => share.with(0, 0)) },
  { title: "one twice", damage: ([one = secret]) => [one, one] },
  { title: "two thresholds", damage: (shares) => shares.with(0, shares[0]?.with(0, 3) ?? secret) },
  { title: "two lengths", damage: (shares) => shares.with(0, shares[0]?.slice(0, -1) ?? secret) },
  { title: "point zero", damage: (shares) => shares.with(0, shares[0]?.with(-1, 0) ?? secret) },
  { title: "no secret", damage: (shares) => shares.map((share) => share.slice(0, 2)) },
  { title: "256", damage: ([one = secret]) => Array.from({ length: 256 }, () => one) },
])("refuses shares: $title", async ({ damage }) => {
  const shares = await splitSecret({ secret, shares: 2, threshold: 2 });
  await expect(combineShares(damage(shares))).rejects.toMatchObject(malformed);
});

test.for([
  { shares: 0, threshold: 1, length: 32 },
  { shares: 256, threshold: 2, length: 32 },
  { shares: 2.5, threshold: 2, length: 32 },
  { shares: 3, threshold: 4, length: 32 },
  { shares: 3, threshold: 0, length: 32 },
  { shares: 3, threshold: 2, length: 0 },
  { shares: 3, threshold: 2, length: 1025 },
])("splits no $length bytes $threshold of $shares", async ({ shares, threshold, length }) => {
  const args = { secret: new Uint8Array(length), shares, threshold };
  await expect(splitSecret(args)).rejects.toMatchObject(malformed);
});

test("any shares combine or are refused", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 6 }), { maxLength: 4 }),
      async (shares) => {
        const outcome: unknown = await combineShares(shares).catch((error: unknown) => error);
        expect(outcome instanceof Uint8Array || outcome instanceof SymphonyError).toBe(true);
      },
    ),
  );
});

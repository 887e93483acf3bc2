/** One decision of a random history. Imports nothing of what it is compared with. */
export type Step =
  | {
      readonly kind: "announce";
      readonly version: number;
      readonly predecessor: number;
      readonly fromEpoch: number;
    }
  | { readonly kind: "retire"; readonly version: number; readonly fromEpoch: number }
  | { readonly kind: "request" }
  | {
      readonly kind: "close";
      readonly epochOffset: number;
      readonly trigger: "time" | "volume" | "governance";
      readonly elapsedMs: number;
      readonly settlements: number;
    };

/** What a step does; undefined for one that is refused. */
export type Effect = (() => void) | undefined;

/** Versions and epochs as SCP part 7 has them, kept as a plan: when each version begins and when it ends. */
export function referenceOf(limits: {
  readonly time_ms_max: number;
  readonly settlement_volume_max: number;
}) {
  /** In the order of announcement; each begins later than the one before. */
  const plan = [{ version: 1, begins: 0, retires: Infinity }];
  let now = 0;
  let requested = false;

  const endOf = (index: number): number => plan[index + 1]?.begins ?? Infinity;
  const statusOf = (index: number): string => {
    const entry = plan[index];
    if (entry === undefined || entry.begins > now) return "draft";
    if (endOf(index) > now) return "active";
    return entry.retires > now ? "deprecated" : "retired";
  };

  const effectOf = (step: Step): Effect => {
    const last = plan.at(-1);
    switch (step.kind) {
      case "announce": {
        const { version, predecessor, fromEpoch: begins } = step;
        const fresh = !plan.some((each) => each.version === version);
        const after = Math.max(now, last?.begins ?? 0);
        if (!fresh || predecessor !== last?.version || begins <= after) return undefined;
        return () => plan.push({ version, begins, retires: Infinity });
      }
      case "retire": {
        const index = plan.findIndex(({ version }) => version === step.version);
        const entry = plan[index];
        if (entry === undefined || statusOf(index) !== "deprecated") return undefined;
        if (entry.retires !== Infinity || step.fromEpoch <= now) return undefined;
        return () => {
          entry.retires = step.fromEpoch;
        };
      }
      case "request":
        return () => {
          requested = true;
        };
      case "close": {
        const { trigger, elapsedMs, settlements } = step;
        const named = Math.max(0, now + step.epochOffset);
        const holds = {
          time: elapsedMs >= limits.time_ms_max,
          volume: settlements >= Math.max(1, limits.settlement_volume_max),
          governance: requested,
        }[trigger];
        if (named !== now || elapsedMs < 0 || !holds) return undefined;
        return () => {
          now += 1;
          requested = false;
        };
      }
    }
  };

  const apply = (step: Step): boolean => {
    const effect = effectOf(step);
    effect?.();
    return effect !== undefined;
  };

  const activeVersion = (): number =>
    plan.find((_, index) => statusOf(index) === "active")?.version ?? 0;

  const view = () => ({
    epochs: Array.from({ length: now + 1 }, (_, epoch) => {
      const index = plan.findIndex((entry, at) => entry.begins <= epoch && epoch < endOf(at));
      return plan[index]?.version ?? 0;
    }),
    versions: plan.map(({ version }, index) => ({ version, status: statusOf(index) })),
    requested,
  });

  return { apply, effectOf, activeVersion, view };
}

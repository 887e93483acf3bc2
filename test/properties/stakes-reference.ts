/** One decision about an actor or its stake, of a random history. Imports nothing of what it is compared with. */
export type ActorStep =
  | { readonly kind: "register"; readonly actor: string; readonly key: number }
  | {
      readonly kind: "rotate";
      readonly actor: string;
      /** The key that signs the decision, and the next one. */
      readonly by: number;
      readonly key: number;
    }
  | { readonly kind: "suspend" | "reinstate" | "retire"; readonly actor: string }
  | {
      readonly kind: "deposit" | "withdraw";
      readonly actor: string;
      readonly amount: number;
      readonly reference: number;
    }
  | {
      readonly kind: "unbond";
      readonly actor: string;
      readonly by: number;
      readonly amount: number;
    }
  | {
      readonly kind: "slash";
      readonly actor: string;
      readonly amount: number;
      readonly task: number;
    }
  | { readonly kind: "close" };

interface Account {
  status: "active" | "suspended" | "retired";
  keys: number[];
  /** One entry for each unit of money that has come in: where it is. */
  units: { place: "bonded" | "unbonding" | "withdrawn" | "slashed"; free: number }[];
  tasks: Set<number>;
}

/** Money as single coins that move from place to place: nothing can be lost or made by adding up. */
export function actorsReference(founding: {
  readonly actor: string;
  readonly key: number;
  readonly stake: number;
  readonly window: number;
}) {
  const coins = (count: number) =>
    Array.from({ length: count }, () => ({ place: "bonded" as const, free: 0 }));
  const accounts = new Map<string, Account>();
  const open = (actor: string, key: number, stake: number): void => {
    const units: Account["units"] = coins(stake);
    accounts.set(actor, { status: "active", keys: [key], units, tasks: new Set() });
  };
  open(founding.actor, founding.key, founding.stake);
  const references = new Set<number>();
  let epoch = 0;

  const isKeyTaken = (key: number) => [...accounts.values()].some(({ keys }) => keys.includes(key));
  const move = (
    units: Account["units"],
    count: number,
    to: "unbonding" | "withdrawn" | "slashed",
  ) => {
    for (const unit of units.slice(0, count)) {
      unit.place = to;
      unit.free = epoch + founding.window;
    }
  };

  const apply = (step: ActorStep): boolean => {
    if (step.kind === "close") {
      epoch += 1;
      return true;
    }
    const account = accounts.get(step.actor);
    if (step.kind === "register") {
      if (account !== undefined || isKeyTaken(step.key)) return false;
      open(step.actor, step.key, 0);
      return true;
    }
    if (account === undefined) return false;
    const { units, status } = account;
    const bonded = units.filter(({ place }) => place === "bonded");
    const leaving = units
      .filter(({ place }) => place === "unbonding")
      .sort((a, b) => a.free - b.free);
    switch (step.kind) {
      case "rotate":
        if (status !== "active" || account.keys.at(-1) !== step.by) return false;
        if (isKeyTaken(step.key)) return false;
        account.keys.push(step.key);
        return true;
      case "suspend":
        if (status === "active") account.status = "suspended";
        return status === "active";
      case "reinstate":
        if (status === "suspended") account.status = "active";
        return status === "suspended";
      case "retire":
        if (status === "retired") return false;
        move(bonded, bonded.length, "unbonding");
        account.status = "retired";
        return true;
      case "deposit":
        if (status === "retired" || references.has(step.reference)) return false;
        references.add(step.reference);
        units.push(...coins(step.amount));
        return true;
      case "withdraw": {
        const released = leaving.filter(({ free }) => free <= epoch);
        if (status === "suspended" || released.length < step.amount) return false;
        if (references.has(step.reference)) return false;
        references.add(step.reference);
        move(released, step.amount, "withdrawn");
        return true;
      }
      case "unbond":
        if (status !== "active" || account.keys.at(-1) !== step.by) return false;
        if (bonded.length < step.amount) return false;
        move(bonded, step.amount, "unbonding");
        return true;
      case "slash":
        if (account.tasks.has(step.task)) return false;
        account.tasks.add(step.task);
        move([...bonded, ...leaving], step.amount, "slashed");
        return true;
    }
  };

  const view = () =>
    [...accounts].map(([actor, { status, keys, units }]) => {
      const count = (place: string) => units.filter((unit) => unit.place === place).length;
      const places = ["bonded", "unbonding", "withdrawn", "slashed"].map(count);
      return { actor, status, key: keys.at(-1), deposited: units.length, places };
    });

  return { apply, view };
}

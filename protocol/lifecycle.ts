import { ConflictError } from "./errors.ts";

/** One step of a history. States are text here, because a history may come from anywhere. */
export interface LifecycleStep {
  readonly from: string;
  readonly to: string;
}

/** A closed set of states and the only transitions between them. */
export interface Lifecycle<State extends string> {
  readonly name: string;
  readonly initial: State;
  /** Every state, in the order of the table. */
  readonly states: readonly State[];
  /** Every legal transition, in the order of the table. */
  readonly transitions: readonly { readonly from: State; readonly to: State }[];
  /** Whether `text` names a state of this lifecycle. */
  isState(text: string): text is State;
  /** Whether no transition leaves `state`. */
  isTerminal(state: State): boolean;
  /**
   * Passes only for a transition of the table. Staying in a state is no transition.
   *
   * @throws {@link ConflictError} EXECUTION_ILLEGAL_TRANSITION with `lifecycle`, `from` and `to`.
   */
  assertTransition(from: string, to: string): void;
  /**
   * The state that `history` leads to from the initial one; the initial one when it is empty.
   *
   * @throws {@link ConflictError} EXECUTION_ILLEGAL_TRANSITION at the first step that does not start where
   * the last one ended, or is not in the table.
   */
  replay(history: readonly LifecycleStep[]): State;
}

/**
 * Makes a lifecycle of a transition table; the one mechanism behind every state in SCP.
 *
 * `transitions` lists for every state where it may go; an empty list makes a state terminal. A transition
 * that is not in the table is refused, whatever the reason for it.
 */
export function defineLifecycle<const State extends string>(definition: {
  readonly name: string;
  readonly initial: NoInfer<State>;
  readonly transitions: Readonly<Record<State, readonly NoInfer<State>[]>>;
}): Lifecycle<State> {
  const { name, initial } = definition;
  const table = new Map<string, readonly State[]>(Object.entries(definition.transitions));
  const isState = (text: string): text is State => table.has(text);
  const states = [...table.keys()].filter(isState);
  const next = (from: string, to: string): State => {
    const target = table.get(from)?.find((state) => state === to);
    if (target === undefined) throw illegalTransition({ lifecycle: name, from, to });
    return target;
  };
  return Object.freeze({
    name,
    initial,
    states: Object.freeze(states),
    transitions: Object.freeze(
      states.flatMap((from) => (table.get(from) ?? []).map((to) => Object.freeze({ from, to }))),
    ),
    isState,
    isTerminal: (state: State) => table.get(state)?.length === 0,
    assertTransition: (from: string, to: string) => void next(from, to),
    replay: (history: readonly LifecycleStep[]) => {
      let state: State = initial;
      for (const step of history) {
        if (step.from !== state) throw outOfPlace({ lifecycle: name, state, ...step });
        state = next(step.from, step.to);
      }
      return state;
    },
  });
}

function illegalTransition(facts: { lifecycle: string; from: string; to: string }): ConflictError {
  return new ConflictError(
    { code: "EXECUTION_ILLEGAL_TRANSITION", ...facts },
    `${facts.lifecycle}: expected a transition of the lifecycle, got ${facts.from} -> ${facts.to}`,
  );
}

function outOfPlace(facts: LifecycleStep & { lifecycle: string; state: string }): ConflictError {
  const { lifecycle, state, from, to } = facts;
  return new ConflictError(
    { code: "EXECUTION_ILLEGAL_TRANSITION", lifecycle, state, from, to },
    `${lifecycle}: expected a step from ${state}, got ${from} -> ${to}`,
  );
}

import { MalformedError, type Operand, type Predicate } from "#protocol";

/** Columns of one Vault: attribute to one value per row; `null` is absent. All have one length. */
export type QueryColumns = ReadonlyMap<string, readonly (number | string | null)[]>;

const NO = 0;
const YES = 1;
/** Absent value: neither it nor its negation matches (three-valued logic, as in SQL). */
const UNKNOWN = 2;

type Scan = (columns: QueryColumns, rows: number) => Uint8Array;

/** A predicate ready to run. */
export interface CompiledPredicate {
  /** The attributes it reads, sorted and distinct. */
  readonly attributes: readonly string[];
  /**
   * 1 for every row that matches, 0 for the others; a row whose outcome hangs on an absent value is a 0.
   *
   * Visits every row of every named column, whatever they hold.
   *
   * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when a column is missing or has not `rows` values
   */
  readonly match: Scan;
}

/**
 * Compiles the predicate of a `query` task to a scan over columns.
 *
 * Its attributes are the resolved references of the task's composition, never ad-hoc column names.
 */
export function compilePredicate(predicate: Predicate): CompiledPredicate {
  const scan = compile(predicate);
  const attributes = predicate.operands.map(({ attribute }) => attribute);
  return {
    attributes: [...new Set(attributes)].toSorted(),
    match: (columns, rows) => scan(columns, rows).map((state) => (state === YES ? 1 : 0)),
  };
}

function both(a: number, b: number): number {
  if (a === NO || b === NO) return NO;
  return a === YES && b === YES ? YES : UNKNOWN;
}

function either(a: number, b: number): number {
  if (a === YES || b === YES) return YES;
  return a === NO && b === NO ? NO : UNKNOWN;
}

function negated(state: number): number {
  if (state === UNKNOWN) return UNKNOWN;
  return state === YES ? NO : YES;
}

function compile({ operator, operands }: Predicate): Scan {
  const scans = operands.map(compileOperand);
  switch (operator) {
    case "AND":
      return fold(scans, YES, both);
    case "OR":
      return fold(scans, NO, either);
    case "NOT": {
      // None of the operands matches; resolution allows one.
      const any = fold(scans, NO, either);
      return (columns, rows) => any(columns, rows).map(negated);
    }
  }
}

function fold(scans: readonly Scan[], start: number, join: (a: number, b: number) => number): Scan {
  // Nine outcomes are tabled once, so that the loop over rows calls nothing.
  const table = Uint8Array.from({ length: 9 }, (_, i) => join(Math.floor(i / 3), i % 3));
  return (columns, rows) => {
    const result = new Uint8Array(rows).fill(start);
    for (const scan of scans) {
      const next = scan(columns, rows);
      for (let row = 0; row < rows; row += 1) {
        result[row] = table[(result[row] ?? NO) * 3 + (next[row] ?? NO)] ?? NO;
      }
    }
    return result;
  };
}

function compileOperand(operand: Operand): Scan {
  const test = operandTest(operand);
  const { attribute } = operand;
  return (columns, rows) => {
    const column = columns.get(attribute);
    if (column?.length !== rows) {
      throw new MalformedError(
        { code: "EXECUTION_INPUT_MISMATCH", attribute },
        `columns: expected ${attribute} with one value per row, got none or another number of values`,
      );
    }
    const states = new Uint8Array(rows);
    for (let row = 0; row < rows; row += 1) {
      const value = column[row] ?? null;
      if (value === null) states[row] = UNKNOWN;
      else if (test(value)) states[row] = YES;
    }
    return states;
  };
}

function operandTest(operand: Operand): (value: number | string) => boolean {
  switch (operand.op) {
    case "eq":
      return (value) => value === operand.value;
    case "in": {
      const values = new Set(operand.values);
      return (value) => values.has(value);
    }
    case "range":
      return (value) => typeof value === "number" && value >= operand.min && value < operand.max;
  }
}

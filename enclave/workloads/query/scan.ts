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
   * 1 for every row that matches, 0 for the others; a row whose outcome hangs on an absent value is a 0. Of a JOIN every
   * row of a subject matches who, for each operand, has some row that fits it: the rows may be different ones.
   *
   * Visits every row of every named column, whatever they hold.
   *
   * @param subjects - Whose each row is.
   * @throws {@link MalformedError} EXECUTION_INPUT_MISMATCH when a column is missing or has not a value for each row
   */
  readonly match: (columns: QueryColumns, subjects: readonly string[]) => Uint8Array;
}

/**
 * Compiles the predicate of a `query` task to a scan over columns.
 *
 * Its attributes are the resolved references of the task's composition, never ad-hoc column names.
 */
export function compilePredicate(predicate: Predicate): CompiledPredicate {
  const match = compile(predicate);
  const attributes = predicate.operands.map(({ attribute }) => attribute);
  return {
    attributes: [...new Set(attributes)].toSorted(),
    match,
  };
}

function compile({ operator, operands }: Predicate): CompiledPredicate["match"] {
  const scans = operands.map(compileOperand);
  if (operator === "JOIN") return (columns, subjects) => joined(scans, columns, subjects);
  const scan = combine(operator, scans);
  return (columns, subjects) => scan(columns, subjects.length).map(certain);
}

/** 1 for a certain yes, 0 otherwise. */
function certain(state: number): number {
  return Number(state === YES);
}

/** The rows of the subjects whom every scan finds, on whichever row. */
function joined(
  scans: readonly Scan[],
  columns: QueryColumns,
  subjects: readonly string[],
): Uint8Array {
  const numbers = new Map<string, number>();
  const owners = Uint32Array.from(subjects, (subject) => {
    const number = numbers.get(subject) ?? numbers.size;
    numbers.set(subject, number);
    return number;
  });
  const inAll = new Uint8Array(numbers.size).fill(1);
  for (const scan of scans) {
    const found = new Uint8Array(numbers.size);
    scan(columns, subjects.length).forEach((state, row) => {
      const owner = owners[row] ?? 0;
      found[owner] = (found[owner] ?? 0) | certain(state);
    });
    found.forEach((each, owner) => {
      inAll[owner] = (inAll[owner] ?? 0) & each;
    });
  }
  return Uint8Array.from(owners, (owner) => inAll[owner] ?? 0);
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

function combine(operator: Exclude<Predicate["operator"], "JOIN">, scans: readonly Scan[]): Scan {
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

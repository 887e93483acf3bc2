import type { Requirement } from "./catalogue.ts";
import type { Mutant, Verdict } from "./mutants.ts";
import type { RunReport } from "./results.ts";

/** What is known about one requirement. */
export interface Row {
  readonly id: string;
  readonly part: string;
  /** Tests naming the id that passed; and all of them that ran. */
  readonly testsPassed: number;
  readonly testsRun: number;
  readonly mutants: number;
  readonly killed: number;
  readonly survived: number;
  readonly unchecked: number;
  readonly passed: boolean;
  readonly proven: boolean;
  /** Whether one of the tests that passed goes in by a door that users have: the listeners, the command line, the client. */
  readonly atDoor: boolean;
}

/** A mutant with its verdict, if it has one for the tree as it is. */
export interface JudgedMutant {
  readonly mutant: Mutant;
  readonly verdict: Verdict | undefined;
}

/** One row for each requirement, in catalogue order. An id is proven by a passed test and a killed mutant. */
export function rowsOf(
  catalogue: readonly Requirement[],
  { tests }: RunReport,
  judged: readonly JudgedMutant[],
  isAtDoor: (file: string) => boolean,
): Row[] {
  return catalogue.map(({ id, part }) => {
    const named = tests.filter(({ ids, status }) => ids.includes(id) && status !== "skipped");
    const passing = named.filter(({ status }) => status === "passed");
    const mine = judged.filter(({ mutant }) => mutant.id === id);
    const passed = passing.length > 0 && passing.length === named.length;
    const killed = mine.filter(({ verdict }) => verdict === "killed");
    const provenBy = killed.filter(({ mutant }) =>
      passing.some(({ file }) => file === mutant.test),
    );
    return {
      id,
      part,
      testsPassed: passing.length,
      testsRun: named.length,
      mutants: mine.length,
      killed: killed.length,
      survived: mine.filter(({ verdict }) => verdict === "survived").length,
      unchecked: mine.filter(({ verdict }) => verdict === undefined).length,
      passed,
      proven: passed && provenBy.length > 0,
      atDoor: passing.some(({ file }) => isAtDoor(file)),
    };
  });
}

/** Sums over all rows. */
export interface Counts {
  readonly requirements: number;
  readonly named: number;
  readonly passed: number;
  readonly proven: number;
  readonly atDoor: number;
  readonly mutants: number;
  readonly unchecked: number;
}

/** Counts of ids that are named by a test, passed and proven, and of the mutants behind them. */
export function countsOf(rows: readonly Row[]): Counts {
  const sum = (pick: (row: Row) => number): number =>
    rows.reduce((total, row) => total + pick(row), 0);
  return {
    requirements: rows.length,
    named: rows.filter(({ testsRun }) => testsRun > 0).length,
    passed: rows.filter(({ passed }) => passed).length,
    proven: rows.filter(({ proven }) => proven).length,
    atDoor: rows.filter(({ atDoor }) => atDoor).length,
    mutants: sum(({ mutants }) => mutants),
    unchecked: sum(({ unchecked }) => unchecked),
  };
}

function provenText(row: Row): string {
  if (row.proven) return "yes";
  if (row.survived > 0) return "no: mutant survived";
  if (row.testsRun === 0) return row.mutants > 0 ? "no: no test ran" : "";
  if (!row.passed) return "no: test failed";
  return row.unchecked > 0 ? "unchecked" : "no: no mutant";
}

/** The table for people: id, tests (passed/run), mutants (killed/registered), at a door, proven; then the counts. */
export function renderTable(rows: readonly Row[]): string {
  const lines = rows.map((row) =>
    [
      row.id.padEnd(6),
      (row.testsRun > 0 ? `${row.testsPassed}/${row.testsRun}` : "-").padStart(7),
      (row.mutants > 0 ? `${row.killed}/${row.mutants}` : "-").padStart(7),
      row.atDoor ? "door" : "    ",
      ` ${provenText(row)}`,
    ]
      .join("  ")
      .trimEnd(),
  );
  const counts = countsOf(rows);
  return [
    `${"id".padEnd(6)}  ${"tests".padStart(7)}  ${"mutants".padStart(7)}  ${"at".padEnd(4)}   proven`,
    ...lines,
    "",
    `${counts.requirements} requirements: ${counts.named} named by a test, ` +
      `${counts.passed} passed, ${counts.atDoor} at a door, ${counts.proven} proven`,
    `${counts.mutants} mutants, ${counts.unchecked} unchecked` +
      (counts.unchecked > 0 ? " (npm run conformance -- --mutants runs them)" : ""),
    "",
  ].join("\n");
}

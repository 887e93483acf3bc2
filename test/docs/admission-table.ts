import { ADMISSION_STEPS } from "../../host/requests/index.ts";

/** The lines between which the table of docs/admission.md stands. */
export const TABLE_BEGINS = "<!-- the order of admission: node test/docs/update-admission.ts -->";
export const TABLE_ENDS = "<!-- end of the order -->";

/** The order of admission as rows of a table: what the code runs, nothing added. */
export function admissionRows(): string[][] {
  return ADMISSION_STEPS.map(({ name, by, holds, refuses }, index) => [
    `${index + 1}`,
    `\`${name}\``,
    by.join(", "),
    holds,
    refuses.map((code) => `\`${code}\``).join(", "),
  ]);
}

/** The rows of the table on `page`, without its head. */
export function rowsOfPage(page: string): string[][] {
  const table = page.split(TABLE_BEGINS)[1]?.split(TABLE_ENDS)[0] ?? "";
  return table
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) =>
      line
        .slice(1, -1)
        .split("|")
        .map((cell) => cell.trim()),
    );
}

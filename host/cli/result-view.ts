import { hex, type TaskResult } from "#protocol";

const MICRO = 1_000_000;

/** A result as JSON for people and programs: bytes as hex, amounts with their unit in the name. */
export function resultView(result: TaskResult): Record<string, unknown> {
  return {
    task_class: result.task_class,
    ...(result.simulated ? { SIMULATED: true } : {}),
    partial_coverage: result.partial_coverage,
    ...bodyView(result.result),
  };
}

function bodyView(body: TaskResult["result"]): Record<string, unknown> {
  switch (body.kind) {
    case "receipt":
      return { kind: body.kind, record: hex(body.record_commitment), receipt: body.receipt };
    case "suppressed":
      return { kind: body.kind };
    case "audience":
      return {
        kind: body.kind,
        size: body.size,
        capped: body.capped,
        audience_handle: hex(body.handle),
      };
    case "histogram":
      return {
        kind: body.kind,
        bin_edges: body.bin_edges_micro.map((edge) => edge / MICRO),
        counts: body.counts,
      };
    case "model":
      return {
        kind: body.kind,
        format: body.format,
        rounds: body.rounds,
        model_bytes: body.model.length,
      };
  }
}

/** One line about a result. */
export function resultLine(result: TaskResult): string {
  const { result: body } = result;
  const mark = result.simulated ? " [SIMULATED]" : "";
  switch (body.kind) {
    case "receipt": {
      const { merchant, date, total, line_items: items } = body.receipt;
      const amount = total === null ? "no total" : (total.value / 100).toFixed(2);
      return `${merchant?.value ?? "no merchant"}, ${date?.value ?? "no date"}, ${amount}, ${items.length} line items${mark}`;
    }
    case "suppressed":
      return `suppressed: too few records${mark}`;
    case "audience":
      return `about ${body.size} people, audience ${hex(body.handle).slice(0, 16)}${mark}`;
    case "histogram":
      return `histogram ${body.counts.map((count) => count ?? "-").join(" ")}${mark}`;
    case "model":
      return `ONNX model of ${body.model.length} bytes after ${body.rounds} rounds${mark}`;
  }
}

import type { Column, Columns } from "../../workloads/train/index.ts";
import type { VerifiedTask } from "../task.ts";
import type { ProjectedColumns } from "./projections.ts";

/**
 * The task's projections in natural units: a decimal's integer divided by ten to its scale, so that a feature's micro
 * constants mean what they say. Text stays text.
 */
export function naturalColumns(projected: ProjectedColumns, task: VerifiedTask): Columns {
  const scales = new Map(task.projections.map(({ name, output }) => [name, output.scale]));
  const columns = new Map<string, Column>();
  for (const [name, values] of projected) {
    const unit = 10 ** (scales.get(name) ?? 0);
    columns.set(
      name,
      values.map((value) => (typeof value === "number" ? value / unit : value)),
    );
  }
  return columns;
}

/** Signed 32-bit integers, little endian. */
export function int32Bytes(values: Int32Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => view.setInt32(index * 4, value, true));
  return bytes;
}

/** Reads {@link int32Bytes}; null unless there are exactly `count`. */
export function readInt32(bytes: Uint8Array, count: number): Int32Array | null {
  if (bytes.length !== count * 4) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: count }, (_, index) => view.getInt32(index * 4, true));
}

import type { Column, Columns } from "../../workloads/train/index.ts";
import type { VerifiedTask } from "../task.ts";
import type { InputRows } from "../inputs.ts";

/**
 * Columns in natural units: a decimal's integer divided by ten to its scale, so that a feature's micro constants mean
 * what they say. Text stays text, documents are absent.
 */
export function naturalColumns(rows: InputRows, task: VerifiedTask): Columns {
  // Another domain may have an attribute of the same name and another scale.
  const own = task.state.semantics.attributes.filter(
    ({ domain_id: domainId }) => domainId === task.scope.domain_id,
  );
  const scales = new Map(own.map(({ attribute_id: id, scale }) => [id, scale]));
  const columns = new Map<string, Column>();
  for (const [name, values] of rows.columns) {
    const unit = 10 ** (scales.get(name) ?? 0);
    columns.set(
      name,
      values.map((value) => {
        if (value instanceof Uint8Array) return null;
        return typeof value === "number" ? value / unit : value;
      }),
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

// What POST /image_to_3d takes, read out of the OpenAPI document.

import { getJson } from "./api.js";

// The fields of the multipart form, by name.
export async function readFields() {
  const document = await getJson("/openapi.json");
  const content = document.paths?.["/image_to_3d"]?.post?.requestBody?.content ?? {};
  const schema = resolved(content["multipart/form-data"]?.schema, document);
  const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => [name, resolved(field, document)]);
  if (!fields.length) throw new Error("/openapi.json does not describe POST /image_to_3d");
  return Object.fromEntries(fields);
}

// A schema without $ref, and without the null that an optional field may also be.
function resolved(schema = {}, document) {
  if (schema.$ref) {
    const found = schema.$ref
      .slice(2)
      .split("/")
      .reduce((at, part) => at?.[part], document);
    return { ...resolved(found, document), ...without(schema, "$ref") };
  }
  const parts = schema.allOf ?? schema.anyOf?.filter((part) => part.type !== "null").slice(0, 1) ?? [];
  const properties = {};
  const merged = {};
  for (const part of parts.map((one) => resolved(one, document))) {
    Object.assign(properties, part.properties);
    Object.assign(merged, part);
  }
  const own = { ...merged, ...without(schema, "allOf", "anyOf") };
  return Object.keys(properties).length ? { ...own, properties: { ...properties, ...schema.properties } } : own;
}

export const without = (object, ...names) =>
  Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));

// Whether a field takes a value.
export function fits(field, value) {
  if (!field) return false;
  if (field.enum) return field.enum.includes(value);
  return value >= (field.minimum ?? -Infinity) && value <= (field.maximum ?? Infinity);
}

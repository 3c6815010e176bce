//! As much of JSON Schema as the description uses. Patterns and formats are left to the interop
//! tests; a keyword that is not known here is a panic, so that none is overlooked.

use serde_json::Value;

/// The schemas of a description.
pub(super) struct Schemas<'a> {
    description: &'a Value,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(description: &'a Value) -> Self {
        Self { description }
    }

    /// What `value` refers to, if it refers to something; else itself.
    pub(super) fn resolve(&self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.description.pointer(&reference[1..]).unwrap(),
            None => value,
        }
    }

    /// Everything about `value` that `schema` does not allow. Objects may hold nothing that is not
    /// described, which is stricter than the standard: what we answer is to be known.
    pub(super) fn problems(&self, schema: &'a Value, value: &Value) -> Vec<String> {
        let mut problems = Vec::new();
        for (keyword, rule) in schema.as_object().unwrap() {
            let is_fine = match keyword.as_str() {
                "$ref" => {
                    problems.extend(self.problems(self.resolve(schema), value));
                    true
                }
                "type" => match rule {
                    Value::Array(types) => types.iter().any(|name| is_of_type(name, value)),
                    name => is_of_type(name, value),
                },
                "const" => rule == value,
                "enum" => rule.as_array().unwrap().contains(value),
                "required" => rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|name| value.get(name.as_str().unwrap()).is_some()),
                "properties" => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        match rule.get(name) {
                            Some(schema) => problems.extend(self.problems(schema, value)),
                            None => problems.push(format!("{name} is not described")),
                        }
                    }
                    true
                }
                "items" => {
                    let items = value.as_array().into_iter().flatten();
                    problems.extend(items.flat_map(|item| self.problems(rule, item)));
                    true
                }
                "minProperties" | "minItems" | "minLength" => size(value) >= rule.as_u64(),
                "maxProperties" | "maxItems" | "maxLength" => size(value) <= rule.as_u64(),
                "minimum" => value.as_i64() >= rule.as_i64(),
                "description" | "examples" | "pattern" | "format" => true,
                _ => panic!("what is {keyword}?"),
            };
            if !is_fine {
                problems.push(format!("{value} against {keyword} {rule}"));
            }
        }
        problems
    }
}

fn is_of_type(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("what is {other}?"),
    }
}

/// The length of a list or text, or the number of an object's fields.
fn size(value: &Value) -> Option<u64> {
    let size = match value {
        Value::Object(fields) => fields.len(),
        Value::Array(items) => items.len(),
        Value::String(text) => text.chars().count(),
        _ => return None,
    };
    u64::try_from(size).ok()
}

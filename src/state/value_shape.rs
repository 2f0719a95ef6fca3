//! What stored values look like, learned from some of them: they name their own fields, so nothing else describes them.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// What the values seen so far have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueShape {
    /// Values seen.
    values: u64,
    /// Words for those that are no objects.
    words: BTreeSet<&'static str>,
    /// Per field of those that are: in how many of them it is, and the words for what it holds.
    fields: BTreeMap<String, (u64, BTreeSet<&'static str>)>,
    /// How many are objects.
    objects: u64,
}

impl ValueShape {
    /// One more value was seen.
    pub fn learn(&mut self, value: &Value) {
        self.values += 1;
        let Value::Object(fields) = value else {
            self.words.insert(word(value));
            return;
        };
        self.objects += 1;
        for (name, value) in fields {
            let (seen, words) = self.fields.entry(name.clone()).or_default();
            *seen += 1;
            words.insert(word(value));
        }
    }
}

fn word(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn any_of(words: &BTreeSet<&'static str>) -> String {
    words.iter().copied().collect::<Vec<_>>().join(" or ")
}

/// `{status: text, paymentTime?: integer}`: a question mark behind what only some of the values have. Nothing seen is `-`.
impl fmt::Display for ValueShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.values == 0 {
            return f.write_str("-");
        }
        let mut kinds = Vec::new();
        if self.objects > 0 {
            let field = |(name, (seen, words)): (&String, &(u64, BTreeSet<&'static str>))| {
                let sometimes = if *seen < self.objects { "?" } else { "" };
                format!("{name}{sometimes}: {}", any_of(words))
            };
            kinds.push(format!("{{{}}}", self.fields.iter().map(field).collect::<Vec<_>>().join(", ")));
        }
        if !self.words.is_empty() {
            kinds.push(any_of(&self.words));
        }
        f.write_str(&kinds.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape(values: &[Value]) -> String {
        let mut shape = ValueShape::default();
        values.iter().for_each(|value| shape.learn(value));
        shape.to_string()
    }

    #[test]
    fn fields_are_told_with_what_they_hold_and_whether_all_have_them() {
        assert_eq!(
            shape(&[json!({"status": "PAID", "paid": 5, "items": []}), json!({"status": "NEW", "items": {"a": 1}})]),
            "{items: list or object, paid?: integer, status: text}"
        );
        assert_eq!(shape(&[json!({}), json!(1), json!(null), json!(1.5)]), "{} or integer or nothing or number");
        assert_eq!(shape(&[json!(true)]), "boolean");
        assert_eq!(shape(&[]), "-");
    }
}

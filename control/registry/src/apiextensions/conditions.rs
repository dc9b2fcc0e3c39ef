//! The conditions of a definition, and which names it gets.

use serde_json::{Map, Value, json};

use super::definition::wanted_names;
use crate::value::{items, text};
use api::meta;

/// Sets a condition; its transition time changes with its status only.
pub fn set(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let all = meta::child_mut(object, "status");
    let list = all.entry("conditions").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    let Some(list) = list.as_array_mut() else { return };
    let mut made = json!({
        "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now,
    });
    match list.iter_mut().find(|condition| condition["type"] == kind) {
        Some(present) => {
            if present["status"] == status {
                made["lastTransitionTime"] = present["lastTransitionTime"].clone();
            }
            if let Some(seen) = present.get("observedGeneration") {
                made["observedGeneration"] = seen.clone();
            }
            *present = made;
        }
        None => list.push(made),
    }
}

/// Whether a condition is True.
#[must_use]
pub fn is_true(object: &Value, kind: &str) -> bool {
    items(&object["status"]["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True")
}

/// The definition with the names it gets and the conditions that follow, beside the other definitions of its group
/// (`others`: whole objects) and the names that built-in kinds of the group have taken.
#[must_use]
pub fn settle(definition: &Value, others: &[&Value], now: &str) -> Value {
    let mut new = definition.clone();
    let wanted = wanted_names(definition);
    let before = definition["status"]["acceptedNames"].as_object().cloned().unwrap_or_default();
    let taken = |names: &dyn Fn(&Value) -> Vec<String>, wanted: &str| {
        others.iter().any(|other| names(&other["status"]["acceptedNames"]).iter().any(|name| name == wanted))
    };
    let resources = |names: &Value| {
        let short = items(&names["shortNames"]).iter().filter_map(Value::as_str);
        [text(names, "plural"), text(names, "singular")].into_iter().chain(short).map(str::to_owned).collect()
    };
    let kinds = |names: &Value| [text(names, "kind"), text(names, "listKind")].into_iter().map(str::to_owned).collect();
    let mut accepted: Map<String, Value> = before;
    let mut refused: Option<(&str, String)> = None;
    let wanted_text = |field: &str| wanted.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    fn decide(
        field: &'static str,
        reason: &'static str,
        name: String,
        is_taken: bool,
        accepted: &mut Map<String, Value>,
    ) -> Option<(&'static str, String)> {
        if !name.is_empty() && is_taken {
            return Some((reason, format!("{name:?} is already in use")));
        }
        accepted.insert(field.to_owned(), name.into());
        None
    }
    // Of several conflicts the last is told.
    for (field, reason) in [("plural", "PluralConflict"), ("singular", "SingularConflict")] {
        let name = wanted_text(field);
        let is_taken = taken(&resources, &name);
        refused = decide(field, reason, name, is_taken, &mut accepted).or(refused);
    }
    let shorts: Vec<&str> =
        items(wanted.get("shortNames").unwrap_or(&Value::Null)).iter().filter_map(Value::as_str).collect();
    let conflicts: Vec<String> =
        shorts.iter().filter(|s| taken(&resources, s)).map(|s| format!("{s:?} is already in use")).collect();
    if !conflicts.is_empty() {
        let text = if conflicts.len() == 1 { conflicts[0].clone() } else { format!("[{}]", conflicts.join(", ")) };
        refused = Some(("ShortNamesConflict", text));
    } else {
        match wanted.get("shortNames") {
            Some(list) => accepted.insert("shortNames".to_owned(), list.clone()),
            None => accepted.remove("shortNames"),
        };
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        let name = wanted_text(field);
        let is_taken = taken(&kinds, &name);
        refused = decide(field, reason, name, is_taken, &mut accepted).or(refused);
    }
    match wanted.get("categories") {
        Some(list) => accepted.insert("categories".to_owned(), list.clone()),
        None => accepted.remove("categories"),
    };
    let all_accepted = refused.is_none();
    meta::child_mut(&mut new, "status").insert("acceptedNames".to_owned(), Value::Object(accepted));
    match refused {
        None => set(&mut new, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now),
        Some((reason, message)) => set(&mut new, "NamesAccepted", "False", reason, &message, now),
    }
    if all_accepted {
        set(&mut new, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now);
    } else if !is_true(definition, "Established") {
        set(&mut new, "Established", "False", "NotAccepted", "not all names are accepted", now);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        json!({"metadata": {"name": format!("{plural}.a.io")}, "spec": {"group": "a.io", "names":
            {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": short}}})
    }

    #[test]
    fn the_first_gets_the_name() {
        let first = settle(&definition("foos", "Foo", &["f"]), &[], "t0");
        assert!(is_true(&first, "Established"));
        assert_eq!(first["status"]["acceptedNames"]["shortNames"], json!(["f"]));
        let second = settle(&definition("bars", "Foo", &["f"]), &[&first], "t1");
        assert!(!is_true(&second, "Established"));
        assert!(!is_true(&second, "NamesAccepted"));
        assert_eq!(second["status"]["acceptedNames"]["plural"], "bars");
        assert_eq!(second["status"]["acceptedNames"]["kind"], Value::Null);
        let again = settle(&first, &[], "t2");
        assert_eq!(again, first);
    }
}

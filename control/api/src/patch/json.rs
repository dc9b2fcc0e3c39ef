//! JSON patch, RFC 6902.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::Status;

/// More operations than this are refused.
const MAX_OPERATIONS: usize = 10_000;
/// Copies may add this many bytes in all, so that repeated copies cannot grow without bound.
const MAX_COPIED_BYTES: usize = 3 << 20;
/// Values may not come to lie deeper than this, so that whoever walks the result has stack for it.
const MAX_DEPTH: usize = 128;
/// Values looked at or shifted in lists by all operations together.
const MAX_STEPS: usize = 50_000_000;
/// The members of an operation.
const MEMBERS: [&str; 4] = ["from", "op", "path", "value"];

/// Applies a patch document. A document that is no patch is a bad request (400), one with too many operations too
/// large (413); one that does not fit the object, or whose `test` fails, is unprocessable (422).
pub fn apply(object: &Value, patch: &[u8]) -> Result<Value, Status> {
    let patch: Patch =
        serde_json::from_slice(patch).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    if patch.0.len() > MAX_OPERATIONS {
        let what = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}", patch.0.len());
        return Err(Status::too_large(&what));
    }
    let mut result = object.clone();
    let mut spent = Spent::default();
    for operation in &patch.0 {
        spent.charge(&result, operation)?;
        json_patch::patch(&mut result, std::slice::from_ref(operation))
            .map_err(|e| Status::unprocessable(&e.to_string()))?;
    }
    Ok(result)
}

/// What is unknown or given twice in a patch's operations, in the words of a strict decoder. `duplicates` are the
/// paths of all fields of the document that are given twice.
#[must_use]
pub fn complaints(patch: &Value, duplicates: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (i, operation) in patch.as_array().into_iter().flatten().take(MAX_OPERATIONS).enumerate() {
        let members = operation.as_object().into_iter().flat_map(|members| members.keys());
        let unknown = members.filter(|member| !MEMBERS.contains(&member.as_str()));
        found.extend(unknown.map(|member| format!("json patch unknown field \"[{i}].{member}\"")));
        let twice = duplicates
            .iter()
            .filter(|path| path.strip_prefix(&format!("[{i}].")).is_some_and(|member| MEMBERS.contains(&member)));
        found.extend(twice.map(|path| format!("json patch duplicate field {path:?}")));
        if found.len() >= 100 {
            break;
        }
    }
    found
}

/// What the operations so far have cost.
#[derive(Default)]
struct Spent {
    copied_bytes: usize,
    steps: usize,
}

impl Spent {
    /// Charges for an operation that is about to be done; 422 if the budget does not have it.
    fn charge(&mut self, document: &Value, operation: &PatchOperation) -> Result<(), Status> {
        let (path, arriving) = match operation {
            PatchOperation::Add(add) => (add.path.as_str(), Some(&add.value)),
            PatchOperation::Replace(replace) => (replace.path.as_str(), Some(&replace.value)),
            PatchOperation::Copy(copy) => (copy.path.as_str(), document.pointer(copy.from.as_str())),
            PatchOperation::Move(movement) => (movement.path.as_str(), document.pointer(movement.from.as_str())),
            PatchOperation::Remove(remove) => (remove.path.as_str(), None),
            PatchOperation::Test(_) => return Ok(()),
        };
        if let (PatchOperation::Copy(_), Some(value)) = (operation, arriving) {
            self.copied_bytes += value.to_string().len();
            if self.copied_bytes > MAX_COPIED_BYTES {
                return Err(Status::unprocessable("copy operations exceed the size limit"));
            }
        }
        let levels = path.bytes().filter(|byte| *byte == b'/').count();
        let fits = arriving.is_none_or(|value| self.has_depth(value, MAX_DEPTH.saturating_sub(levels)));
        if levels > MAX_DEPTH || !fits {
            return Err(Status::unprocessable("the patched object would be nested too deeply"));
        }
        let parent = path.rfind('/').and_then(|end| document.pointer(&path[..end]));
        self.steps += parent.and_then(Value::as_array).map_or(1, Vec::len);
        if self.steps > MAX_STEPS {
            return Err(Status::unprocessable("the patch takes too many steps"));
        }
        Ok(())
    }

    fn has_depth(&mut self, value: &Value, levels: usize) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return true;
        }
        match value {
            Value::Array(items) => levels > 0 && items.iter().all(|item| self.has_depth(item, levels - 1)),
            Value::Object(fields) => levels > 0 && fields.values().all(|item| self.has_depth(item, levels - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
}

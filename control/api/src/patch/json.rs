//! JSON patch, RFC 6902.

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::Status;

/// More operations than this are refused.
const MAX_OPERATIONS: usize = 10_000;
/// Copies may add this many bytes in all, so that repeated copies cannot grow without bound.
const MAX_COPIED_BYTES: usize = 3 << 20;

/// Applies a patch document. A document that is no patch is a bad request (400); one that does not fit the object,
/// or whose `test` fails, is unprocessable (422).
pub fn apply(object: &Value, patch: &[u8]) -> Result<Value, Status> {
    let patch: Patch =
        serde_json::from_slice(patch).map_err(|e| Status::bad_request(format!("error decoding patch: {e}")))?;
    if patch.0.len() > MAX_OPERATIONS {
        let what = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}", patch.0.len());
        return Err(Status::too_large(&what));
    }
    let mut result = object.clone();
    let mut copied = 0;
    for operation in &patch.0 {
        if let PatchOperation::Copy(copy) = operation {
            copied += result.pointer(copy.from.as_str()).map_or(0, |v| v.to_string().len());
            if copied > MAX_COPIED_BYTES {
                return Err(Status::unprocessable("copy operations exceed the size limit"));
            }
        }
        json_patch::patch(&mut result, std::slice::from_ref(operation))
            .map_err(|e| Status::unprocessable(&e.to_string()))?;
    }
    Ok(result)
}

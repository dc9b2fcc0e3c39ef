//! `matchConditions`: CEL over the request.

use registry::cel::{self, Budget, CALL_BUDGET, Type, Val, Variables};
use serde_json::Value;

/// Whether the expression holds for a review's request.
pub(super) fn holds(expression: &str, request: &Value) -> Result<bool, String> {
    const NAMES: [&str; 3] = ["object", "oldObject", "request"];
    let types = NAMES.map(|name| (name, Type::Dyn));
    let program = cel::compile(expression, &types).map_err(|error| error.to_string())?;
    let mut variables = Variables::new();
    variables.insert("object", cel::from_json(&request["object"]));
    variables.insert("oldObject", cel::from_json(&request["oldObject"]));
    variables.insert("request", cel::from_json(request));
    match program.evaluate(&variables, &mut Budget::new(CALL_BUDGET * 10)) {
        Ok(Val::Bool(holds)) => Ok(holds),
        Ok(_) => Err("the expression is no boolean".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

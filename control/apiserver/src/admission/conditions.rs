//! `matchConditions`: CEL over the request, compiled once a configuration.

use registry::cel::{self, Budget, Program, Type, Val, Variables};
use serde_json::Value;

/// What the conditions of one webhook may cost together (Kubernetes: `RuntimeCELCostBudgetMatchConditions`).
const BUDGET: u64 = 2_500_000;
const NAMES: [&str; 3] = ["object", "oldObject", "request"];

/// The conditions of one webhook.
pub(super) struct Conditions {
    all: Vec<Result<Program, String>>,
}

impl Conditions {
    /// Reads a list of `matchConditions`.
    pub(super) fn read(list: &Value) -> Self {
        let types = NAMES.map(|name| (name, Type::Dyn));
        let compile = |one: &Value| {
            let text = one["expression"].as_str().unwrap_or_default();
            cel::compile(text, &types).map_err(|error| format!("compilation error: compilation failed: {error}"))
        };
        Self { all: list.as_array().into_iter().flatten().map(compile).collect() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether all hold for a review's request. One that does not decides, even where others fail; the error is what
    /// those say.
    pub(super) fn hold(&self, request: &Value) -> Result<bool, String> {
        let mut variables = Variables::new();
        variables.insert("object", cel::from_json(&request["object"]));
        variables.insert("oldObject", cel::from_json(&request["oldObject"]));
        variables.insert("request", cel::from_json(request));
        let mut budget = Budget::new(BUDGET);
        let mut errors = Vec::new();
        for condition in &self.all {
            let result = condition.as_ref().map_err(Clone::clone).and_then(|program| {
                let failed = |error: &dyn std::fmt::Display| {
                    format!("expression '{}' resulted in error: {error}", program.text())
                };
                match program.evaluate(&variables, &mut budget) {
                    Ok(Val::Bool(holds)) => Ok(holds),
                    Ok(_) => Err(failed(&"the expression is no boolean")),
                    Err(error) => Err(failed(&error)),
                }
            });
            match result {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) => errors.push(error),
            }
        }
        match &errors[..] {
            [] => Ok(true),
            [one] => Err(one.clone()),
            more => Err(format!("[{}]", more.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_that_does_not_hold_decides() {
        let conditions = |texts: &[&str]| {
            Conditions::read(&texts.iter().map(|text| json!({"name": "c", "expression": text})).collect())
        };
        let request = json!({"object": {"metadata": {"name": "a"}}, "oldObject": null});
        let broken = "object.spec.x == 1";
        assert_eq!(conditions(&["oldObject == null", "true"]).hold(&request), Ok(true));
        assert_eq!(conditions(&[broken, "object.metadata.name == 'b'"]).hold(&request), Ok(false));
        let error = conditions(&["true", broken]).hold(&request).unwrap_err();
        assert!(error.starts_with("expression 'object.spec.x == 1' resulted in error: no such key"), "{error}");
        assert!(conditions(&["1 +"]).hold(&request).unwrap_err().starts_with("compilation error: "));
    }
}

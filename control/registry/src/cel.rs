//! The Common Expression Language, as Kubernetes has it: [`compile`] a text once, [`Program::evaluate`] it with
//! variables and a [`Budget`]. Own code because rules come from users: parsing is bounded in depth, evaluation in cost,
//! types are checked against schemas, and neither may panic.

mod ast;
mod check;
mod eval;
mod functions;
mod lex;
mod library;
mod parse;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use check::{Cost, Type};
pub use value::{ListKind, Val, from_json, typed};

use ast::Expr;

/// Cost that one evaluation may have. Kubernetes' per-call limit.
pub const CALL_BUDGET: u64 = 1_000_000;
/// Cost that all evaluations for one object may have. Kubernetes' runtime budget.
pub const OBJECT_BUDGET: u64 = 10_000_000;

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Program {
    text: String,
    expr: Expr,
    /// What it evaluates to.
    pub kind: Type,
    /// What it costs at most, by the bounds of its variables' schemas.
    pub cost: Cost,
}

/// Why a text is no expression; the wording is that of cel-go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERROR: <input>:1:{column}: {what}\n | {text}\n | {marker}^")]
pub struct CompileError {
    /// From 1.
    pub column: usize,
    pub what: String,
    text: String,
    marker: String,
}

/// Why an evaluation has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    #[error("operation cancelled: actual cost limit exceeded")]
    Cost,
    #[error("no such overload")]
    Overload,
    #[error("no such key: {0}")]
    Key(String),
    #[error("{0}")]
    Other(String),
}

/// What evaluations may still cost.
#[derive(Debug, Clone)]
pub struct Budget {
    left: u64,
}

impl Budget {
    #[must_use]
    pub fn new(cost: u64) -> Self {
        Self { left: cost }
    }

    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }
}

/// Variables by name.
pub type Variables<'a> = BTreeMap<&'a str, Val>;

impl CompileError {
    fn new(text: &str, at: usize, what: impl Into<String>) -> Self {
        let column = text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        let shown: String = text.chars().take(400).collect();
        Self { column, what: what.into(), text: shown, marker: ".".repeat(column.saturating_sub(1).min(400)) }
    }
}

/// Parses and checks an expression over variables of these types.
pub fn compile(text: &str, variables: &[(&str, Type)]) -> Result<Program, CompileError> {
    let expr = parse::parse(text)?;
    let (kind, cost) = check::check(text, &expr, variables)?;
    Ok(Program { text: text.to_owned(), expr, kind, cost })
}

impl Program {
    /// The value with these variables. The cost is taken off the budget, at most [`CALL_BUDGET`].
    pub fn evaluate(&self, variables: &Variables<'_>, budget: &mut Budget) -> Result<Val, EvalError> {
        let limit = budget.left.min(CALL_BUDGET);
        let mut run = eval::Run::new(variables, limit);
        let result = run.eval(&self.expr);
        budget.left -= limit - run.left;
        if budget.left == 0 && result.is_ok() && limit < CALL_BUDGET {
            return Err(EvalError::Cost);
        }
        result
    }

    /// Whether the expression names a variable.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        self.expr.names(variable)
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A text shared by values.
type Text = Rc<str>;

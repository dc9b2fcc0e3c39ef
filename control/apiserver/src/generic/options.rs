//! The options of a write, from the query: CreateOptions, UpdateOptions, PatchOptions.

use super::{Context, write::FieldValidation};
use crate::http::query::Query;
use api::{FieldError, Gvk, Status};
use http::{HeaderMap, header::USER_AGENT};

/// Longest name of a field manager.
const MANAGER_LIMIT: usize = 128;
const DRY_RUN: &[&str] = &["All"];
const VALIDATIONS: &[&str] = &["Ignore", "Warn", "Strict"];
const PRINTABLE: &str = "should only contain printable characters";

/// Checked options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    pub(crate) force: bool,
}

impl Options {
    /// Reads the request's options; 422 for values there are not. `apply`: the request is an apply patch.
    pub(crate) fn read(context: &Context<'_>, apply: Apply) -> Result<Self, Status> {
        let query = &context.query;
        let mut errors = Vec::new();
        if let Some(force) = query.all("force").next() {
            if apply == Apply::No {
                errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
            } else if !matches!(force, "true" | "false" | "1" | "0" | "t" | "f" | "T" | "F" | "True" | "False" | "") {
                return Err(Status::bad_request(format!("strconv.ParseBool: parsing {force:?}: invalid syntax")));
            }
        }
        let manager = query.get("fieldManager");
        if apply == Apply::Yes && manager.is_none() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if let Some(manager) = manager {
            if manager.len() > MANAGER_LIMIT {
                errors.push(FieldError::too_long("fieldManager", MANAGER_LIMIT));
            }
            if let Some(at) = manager.chars().position(|c| c.is_control() || (c.is_whitespace() && c != ' ')) {
                errors.push(FieldError::invalid("fieldManager", format!("{manager}[{at}]"), PRINTABLE));
            }
        }
        errors.extend(dry_run_errors(query.all("dryRun")));
        let validation = query.get("fieldValidation");
        if let Some(other) = validation.filter(|text| !VALIDATIONS.contains(text)) {
            errors.push(FieldError::not_supported("fieldValidation", other, VALIDATIONS));
        }
        if !errors.is_empty() {
            return Err(invalid(kind(context.verb), errors));
        }
        Ok(Self {
            dry_run: query.all("dryRun").any(|value| !value.is_empty()),
            validation: FieldValidation::of(validation)?,
            force: query.flag("force"),
        })
    }
}

/// Whether a request is an apply patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apply {
    Yes,
    No,
}

/// The options kind of a verb.
pub(crate) fn kind(verb: &str) -> &'static str {
    match verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        _ => "DeleteOptions",
    }
}

/// 422 about an options object.
pub(crate) fn invalid(kind: &str, errors: Vec<FieldError>) -> Status {
    Status::invalid(&Gvk::new("meta.k8s.io", "v1", kind), "", errors)
}

/// What is wrong with the values of `dryRun`.
pub(crate) fn dry_run_errors<'a>(values: impl Iterator<Item = &'a str>) -> Option<FieldError> {
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    let wrong = values.iter().any(|value| !DRY_RUN.contains(value));
    wrong.then(|| FieldError::not_supported("dryRun", values, DRY_RUN))
}

/// Who a write's fields belong to: the manager it names, else the first part of its user agent.
pub(crate) fn manager(query: &Query, headers: &HeaderMap) -> String {
    if let Some(named) = query.get("fieldManager") {
        return named.to_owned();
    }
    let agent = headers.get(USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes())).unwrap_or_default();
    let mut manager = String::new();
    for c in agent.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()) {
        if manager.len() + c.len_utf8() > MANAGER_LIMIT {
            break;
        }
        manager.push(c);
    }
    if manager.is_empty() { "unknown".to_owned() } else { manager }
}

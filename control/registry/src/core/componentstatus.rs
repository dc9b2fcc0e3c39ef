//! ComponentStatuses: made up at each read, never stored.

use api::meta;
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{Column, NAME, text as column};
use crate::value::{items, text};

/// Strategy of ComponentStatuses.
pub struct ComponentStatus;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "Whether the component is healthy"),
    column("Message", "What it says"),
    column("Error", "What went wrong"),
];

impl Strategy for ComponentStatus {
    fn row(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let healthy = items(&object["conditions"]).iter().find(|c| text(c, "type") == "Healthy");
        let (mut status, mut message, mut error) = ("Unknown", "", "");
        if let Some(condition) = healthy {
            status = if text(condition, "status") == "True" { "Healthy" } else { "Unhealthy" };
            message = text(condition, "message");
            error = text(condition, "error");
        }
        vec![meta::name(object).into(), status.into(), message.into(), error.into()]
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }
}

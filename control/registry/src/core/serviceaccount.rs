//! ServiceAccounts.

use api::meta;
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::age;
use crate::value::items;

/// Strategy of ServiceAccounts.
pub struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![meta::name(object).into(), items(&object["secrets"]).len().into(), age(object, now)]
    }
}

//! IPAddresses: each a service address that is taken.

use std::net::IpAddr;

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::{invalid, path_segment};
use crate::validate::names;
use crate::validate::template::immutable;
use crate::value::{has, text};

/// Strategy of IPAddresses.
pub struct IpAddress;

pub const COLUMNS: &[Column] = &[NAME, column("ParentRef", "What has the address"), AGE];

impl Strategy for IpAddress {
    fn validate_name(&self, name: &str) -> Vec<String> {
        match name.parse::<IpAddr>() {
            Err(_) => vec![format!("ParseAddr({name:?}): unable to parse IP")],
            Ok(ip) if ip.to_string() != name => vec!["must be a canonical format IP address".to_owned()],
            Ok(_) => Vec::new(),
        }
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn validate(&self, address: &Value) -> Vec<FieldError> {
        const PATH: &str = "spec.parentRef";
        let spec = &address["spec"];
        if !has(spec, "parentRef") {
            return vec![FieldError::required(PATH, "")];
        }
        let parent = &spec["parentRef"];
        let mut errors = Vec::new();
        let group = text(parent, "group");
        if !group.is_empty() {
            errors.extend(invalid(&format!("{PATH}.group"), group, names::dns_subdomain(group)));
        }
        for field in ["resource", "name"] {
            match text(parent, field) {
                "" => errors.push(FieldError::required(format!("{PATH}.{field}"), "")),
                value => errors.extend(invalid(&format!("{PATH}.{field}"), value, path_segment(value))),
            }
        }
        let namespace = text(parent, "namespace");
        errors.extend(invalid(&format!("{PATH}.namespace"), namespace, path_segment(namespace)));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["spec"]["parentRef"], &old["spec"]["parentRef"], "spec.parentRef")
    }

    fn row(&self, address: &Value, now: Timestamp) -> Vec<Value> {
        let parent = &address["spec"]["parentRef"];
        let mut shown = api::names::qualified(text(parent, "resource"), text(parent, "group")).to_lowercase();
        for field in ["namespace", "name"] {
            if !text(parent, field).is_empty() {
                shown.push('/');
                shown.push_str(text(parent, field));
            }
        }
        let shown = if shown.is_empty() { "<none>".to_owned() } else { shown };
        vec![meta::name(address).into(), shown.into(), age(address, now)]
    }
}

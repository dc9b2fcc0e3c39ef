//! VolumeAttachments.

use api::{FieldError, meta};
use jiff::Timestamp;
use serde_json::Value;

use crate::Strategy;
use crate::columns::{AGE, Column, NAME, age, text as column};
use crate::validate::forms::{csi_driver, invalid};
use crate::validate::names;
use crate::validate::template::immutable;
use crate::value::{flag, has, text};

/// Strategy of VolumeAttachments.
pub struct VolumeAttachment;

pub const COLUMNS: &[Column] = &[
    NAME,
    column("Attacher", "Driver that attaches"),
    column("PV", "The volume"),
    column("Node", "Where to"),
    column("Attached", "Whether it is attached"),
    AGE,
];

impl Strategy for VolumeAttachment {
    fn has_status(&self) -> bool {
        true
    }

    fn validate(&self, attachment: &Value) -> Vec<FieldError> {
        let spec = &attachment["spec"];
        let mut errors = csi_driver(text(spec, "attacher"), "spec.attacher");
        let node = text(spec, "nodeName");
        errors.extend(invalid("spec.nodeName", node, names::dns_subdomain(node)));
        let source = &spec["source"];
        let name = "spec.source.persistentVolumeName";
        match (has(source, "persistentVolumeName"), has(source, "inlineVolumeSpec")) {
            (false, false) => {
                let what = "must specify one of inlineVolumeSpec and persistentVolumeName";
                errors.push(FieldError::required("spec.source", what));
            }
            (true, true) => {
                let what = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
                errors.push(FieldError::forbidden("spec.source", what));
            }
            (true, false) => match text(source, "persistentVolumeName") {
                "" => errors.push(FieldError::required(name, "must specify non empty persistentVolumeName")),
                volume => errors.extend(invalid(name, volume, names::dns_subdomain(volume))),
            },
            (false, true) => {}
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        immutable(&new["spec"], &old["spec"], "spec")
    }

    fn row(&self, attachment: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &attachment["spec"];
        vec![
            meta::name(attachment).into(),
            text(spec, "attacher").into(),
            text(&spec["source"], "persistentVolumeName").into(),
            text(spec, "nodeName").into(),
            flag(&attachment["status"], "attached").into(),
            age(attachment, now),
        ]
    }
}

//! x

use crate::Strategy;

pub struct ReplicaSet;

impl Strategy for ReplicaSet {}
pub const COLUMNS: &[crate::Column] = &[crate::columns::NAME, crate::columns::AGE];

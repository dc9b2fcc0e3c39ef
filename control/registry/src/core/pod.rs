//! x

use crate::Strategy;

pub struct Pod;

impl Strategy for Pod {}
pub const COLUMNS: &[crate::Column] = &[crate::columns::NAME, crate::columns::AGE];

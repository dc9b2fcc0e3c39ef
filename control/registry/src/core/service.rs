//! x

use crate::Strategy;

pub struct Service;

impl Strategy for Service {}
pub const COLUMNS: &[crate::Column] = &[crate::columns::NAME, crate::columns::AGE];

//! x

use crate::Strategy;

pub struct Deployment;

impl Strategy for Deployment {}
pub const COLUMNS: &[crate::Column] = &[crate::columns::NAME, crate::columns::AGE];

//! x

use crate::Strategy;

pub struct Node;

impl Strategy for Node {}
pub const COLUMNS: &[crate::Column] = &[crate::columns::NAME, crate::columns::AGE];

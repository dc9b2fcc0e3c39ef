//! x
use crate::Strategy;
pub struct CoreEvent;
impl Strategy for CoreEvent {}
pub struct NewEvent;
impl Strategy for NewEvent {}
pub const COLUMNS: &[crate::Column] = &[crate::columns::NAME, crate::columns::AGE];

//! x
use crate::Conversion;
pub static CONVERSION: Conversion = Conversion { to_storage: |_| {}, from_storage: |_| {} };

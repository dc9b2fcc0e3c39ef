//! Rules that many kinds share, with the wording clients know.

pub mod labels;
pub mod names;

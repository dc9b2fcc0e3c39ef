//! Rules that many kinds share, with the wording clients know.

pub mod container;
pub mod env;
pub mod forms;
pub mod labels;
pub mod names;
pub mod number;
pub mod pod;
pub mod probe;
pub mod resources;
pub mod scheduling;
pub mod security;
pub mod template;
pub mod update;
pub mod volumes;

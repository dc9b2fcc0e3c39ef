//! Tests of the crate through its public interface.

mod env;
mod machine;
mod scenarios;
mod support;

//! Bindings: posted, acted on, never stored.

use crate::Strategy;

/// Strategy of Bindings.
pub struct Binding;

impl Strategy for Binding {}

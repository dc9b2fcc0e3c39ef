//! The patch languages: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.

pub mod json;
pub mod merge;
pub mod strategic;

#[cfg(test)]
mod tests;

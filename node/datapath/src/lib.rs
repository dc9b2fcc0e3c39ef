//! The node's data plane as data: fabric state in, table contents and an ordered plan out.

//! Tests.

mod target_group;

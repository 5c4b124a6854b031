//! The Application Load Balancer.

mod dns;
//! Tests.

mod target_group;

//! The Application Load Balancer.

mod dns;

//! An Application Load Balancer.

mod edge;

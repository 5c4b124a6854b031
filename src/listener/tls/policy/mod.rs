//! Security policies: which versions, cipher suites and key exchanges a listener offers.
//!
//! [`SecurityPolicy`] is a choice among what rustls can do (`security_policy`). `alb` is the table
//! of the policies of Application Load Balancers.

mod alb;
mod security_policy;

pub use self::security_policy::SecurityPolicy;

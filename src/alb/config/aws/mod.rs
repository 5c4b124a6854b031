//! What `aws elbv2 describe-*` prints, and how it becomes a [`Config`](super::Config).
//!
//! The shapes are those of the service model `elasticloadbalancingv2`, with the model's names. A
//! shape is serialized again after it was read: what is in the input and not in the output is a
//! member that the shape does not know. So no member is ignored silently, whatever AWS adds.
//!
//! ```no_run
//! use tower_lb::alb::config::Config;
//!
//! // The directory has the output of `aws elbv2 describe-load-balancers` and so on.
//! let config = Config::from_dir("exported")?;
//! println!("{}", config.to_toml()?);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod actions;
mod attributes;
mod document;
mod import;
mod leftovers;
mod listeners;
#[cfg(test)]
mod members;
mod resource;
mod rules;
mod shapes;
mod target_groups;

pub use self::import::Import;

//! The guides. They exist only in the documentation.
//!
//! | guide | answers |
//! |---|---|
//! | [`from_tower`] | How do I replace tower's `Balance`? |
//! | [`architecture`] | How does the crate work inside? |
//! | [`strategies`] | Which strategy fits my workload? |
//! | [`discovery`] | How do I get endpoints from DNS, files, Consul, Kubernetes or AWS? |
//! | [`resilience`] | Which retries, hedges and limits do I put around a balancer? |
//! | [`errors`] | Whose fault is an error, and what may be repeated? |
//! | [`gateway`] | How are requests forwarded, and what does the gateway to run do? |
//! | [`reliability`] | What happens when endpoints, sources or clients fail? |
//! | [`tail_latency`] | What do strategies and hedges do to the tail of the latency? |
//! | [`observability`] | What can operators see, and where do they look when something is wrong? |
//! | [`dashboard`] | What does the live page show, and who may see it? |
//! | [`metrics`] | Which metrics are there, and how do Prometheus and CloudWatch get them? |
//! | [`performance`] | What does a request cost? |
//! | [`tracing`] | Which spans and events are there, and what do they say? |
#![cfg_attr(
    feature = "alb",
    doc = "| [`load_balancer`] | How do I serve or replace an Application Load Balancer? |"
)]
#![cfg_attr(
    feature = "tcp",
    doc = "| [`network_load_balancer`] | How do I balance TCP and TLS connections? |"
)]
#![cfg_attr(
    feature = "clb",
    doc = "| [`classic_load_balancer`] | How do I serve HTTP and TCP by the same instances? |"
)]
//! | [`load_balancers`] | What are AWS's four load balancers here? |
#![cfg_attr(
    feature = "geneve",
    doc = "| [`gateway_load_balancer`] | How do I send packets through firewalls and inspectors? |"
)]
#![cfg_attr(feature = "aws", doc = "| [`lambda`] | How do I balance AWS Lambda functions? |")]

#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[cfg(feature = "clb")]
#[doc = include_str!("../docs/classic-load-balancer.md")]
pub mod classic_load_balancer {}

#[doc = include_str!("../docs/dashboard.md")]
pub mod dashboard {}

#[doc = include_str!("../docs/discovery.md")]
pub mod discovery {}

#[doc = include_str!("../docs/errors.md")]
pub mod errors {}

#[doc = include_str!("../docs/from-tower.md")]
pub mod from_tower {}

#[doc = include_str!("../docs/gateway.md")]
pub mod gateway {}

#[cfg(feature = "geneve")]
#[doc = include_str!("../docs/gateway-load-balancer.md")]
pub mod gateway_load_balancer {}

#[cfg(feature = "aws")]
#[doc = include_str!("../docs/lambda.md")]
pub mod lambda {}

#[cfg(feature = "alb")]
#[doc = include_str!("../docs/load-balancer.md")]
pub mod load_balancer {}

#[doc = include_str!("../docs/load-balancers.md")]
pub mod load_balancers {}

#[doc = include_str!("../docs/metrics.md")]
pub mod metrics {}

#[cfg(feature = "tcp")]
#[doc = include_str!("../docs/network-load-balancer.md")]
pub mod network_load_balancer {}

#[doc = include_str!("../docs/observability.md")]
pub mod observability {}

#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[doc = include_str!("../docs/reliability.md")]
pub mod reliability {}

#[doc = include_str!("../docs/resilience.md")]
pub mod resilience {}

#[doc = include_str!("../docs/strategies.md")]
pub mod strategies {}

#[doc = include_str!("../docs/tail-latency.md")]
pub mod tail_latency {}

#[doc = include_str!("../docs/tracing.md")]
pub mod tracing {}

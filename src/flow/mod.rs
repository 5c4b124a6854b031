//! Flows of packets: their keys, and a bounded table that remembers what was decided for each.
//!
//! Datagrams and packets have no connection. A [`FlowKey`] says which of them belong together, and
//! a [`FlowTable`] keeps a value for each flow, such as the endpoint that was picked for it, until
//! the flow has been idle for its timeout.
//!
//! ```
//! use std::time::Duration;
//! use tokio::time::Instant;
//! use tower_lb::flow::{FlowKey, FlowTable};
//!
//! let mut table = FlowTable::builder().idle_timeouts([Duration::from_secs(120)]).build()?;
//! let (client, server) = ("192.0.2.7:5000".parse()?, "198.51.100.1:53".parse()?);
//! let key = FlowKey::five_tuple(FlowKey::UDP, client, server);
//!
//! let now = Instant::now();
//! table.insert(key, client.ip(), 0, "endpoint a", now)?;
//! // A reply makes the flow an established one, which new flows cannot displace.
//! table.establish(&key, now);
//! assert_eq!(table.get(&key, now), Some(&mut "endpoint a"));
//!
//! let later = now + Duration::from_secs(120);
//! assert_eq!(table.get(&key, later), None);
//! assert_eq!(table.pop_expired(later), Some((key, "endpoint a")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | question | file |
//! |---|---|
//! | which packets belong together? | `flow_key` |
//! | which flows are remembered, and until when? | `flow_table` |
//! | how many may there be, and for how long? | `builder` |
//! | which flow comes first? | `chain` |
//! | how many flows has one source? | `sources` |

mod builder;
mod chain;
mod flow_key;
mod flow_table;
mod sources;

pub use self::{
    builder::FlowTableBuilder,
    flow_key::FlowKey,
    flow_table::{FlowCounts, FlowTable, Refusal, Refused, Removal, Removed},
};

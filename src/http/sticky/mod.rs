//! Sticky sessions: requests that carry a session's cookie go to the endpoint that served it before.
//!
//! [`Sessions`] holds the settings and the [`Key`]s; it gives the two ends of a balancer what they
//! need: [`stick`](Sessions::stick) wraps the strategy, which then looks at the cookie, and
//! [`track`](Sessions::track) wraps the tracker, which then adds `Set-Cookie` to responses. The
//! cookie is issued when there is a reason to: there was no session, it has moved, a tenth of its
//! lifetime has passed, or it is signed by an older key.
//!
//! ```
//! # #[cfg(feature = "http-client")] {
//! use std::time::Duration;
//! use tower_lb::{
//!     discover::{self, DiscoverExt},
//!     http::{self, HttpStatus, Pool, UntilBodyEnd, sticky::{Key, Sessions}},
//!     strategy::P2c,
//! };
//!
//! # async fn example(secret: [u8; 32]) -> Result<(), Box<dyn std::error::Error>> {
//! let sessions = Sessions::builder(Key::new(secret)?)
//!     .lifetime(Duration::from_secs(3600))
//!     .build()?;
//!
//! let origins: [http::Origin; 2] = ["http://10.0.0.1:8080".parse()?, "http://10.0.0.2:8080".parse()?];
//! let endpoints = discover::addresses(origins).connect(Pool::new().connector());
//! let balancer = http::builder()
//!     .track(sessions.track(UntilBodyEnd::new(HttpStatus)))
//!     .spawn(sessions.stick(P2c::default()), endpoints)?;
//! # let _: http::sticky::Balancer<http::Client<String>, _> = balancer;
//! # Ok(()) }
//! # }
//! ```
//!
//! # What a session is worth
//!
//! The cookie's value is an identifier of the endpoint, when it was issued, and a tag. Identifier and
//! tag are HMAC-SHA-256, truncated to 128 bits: without a key nobody can tell which endpoint it is,
//! make a cookie for another, or prolong one. Whoever has two cookies can tell whether they are for
//! the same endpoint.
//!
//! A value that is forged, truncated, expired, of another balancer, or anything else that was not
//! issued here counts as no session; so does a valid one that comes after four others of the same
//! name. Of several that are valid the first counts. The cookie is passed on to the endpoint.
//!
//! What a request can make the balancer do before a cookie is found authentic is bounded: 64 KiB of
//! `Cookie` headers are searched, four cookies are verified, each by one HMAC for the key that its
//! endpoint is known by, and an application's cookie of up to 4096 bytes is hashed once for each key
//! that is tried (at most 8).
//!
//! | the session's endpoint is | the request | the session |
//! |---|---|---|
//! | eligible | goes there | stays |
//! | full | goes elsewhere | stays ([`Affinity`]) |
//! | not ready, or was tried by the request before | goes elsewhere | moves ([`Affinity`]) |
//! | draining, or of weight 0 | goes elsewhere | moves ([`WhenDraining`]) |
//! | unhealthy, or removed | goes elsewhere | moves |
//!
//! No session begins, moves or is renewed with a response of status 5xx.
//!
//! A stickiness that other strategies know goes around them: `sessions.stick(Split…)` keeps sessions
//! where they are and splits the rest.

mod binding;
mod builder;
mod config;
mod cookie;
mod key;
mod picker;
mod sessions;
mod token;
mod track;

pub use self::{
    builder::{InvalidSessions, SessionsBuilder},
    config::{Affinity, WhenDraining},
    cookie::SameSite,
    key::Key,
    picker::{Sticky, StickyPicker},
    sessions::Sessions,
    track::{Balancer, StickyTrack},
};

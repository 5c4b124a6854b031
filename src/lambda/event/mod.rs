//! HTTP in front of functions: requests as events, and responses of functions as HTTP responses.
//!
//! `http_function` is the service, `event_format` the trait that translates. Its implementations
//! are `alb_event` and `url_event`, which share `event_json` (to write events) and `json_response`
//! with `json_response_members` (to read responses). `response_prelude` reads the head of a
//! streamed response; `failure` turns errors into responses. `json_string` escapes JSON faster than
//! `serde_json`; `benches/benches/lambda.rs` measures it.

mod alb_event;
mod error;
mod event_format;
mod event_json;
mod failure;
mod http_body;
mod http_function;
mod json_response;
mod json_response_members;
mod json_string;
mod response_prelude;
mod url_event;
pub(super) mod uuid;

pub use self::{
    alb_event::AlbEvent,
    error::{InvalidResponse, UnsupportedRequest},
    event_format::EventFormat,
    http_body::HttpBody,
    http_function::{FunctionResponse, HttpFunction, HttpFunctionFuture},
    url_event::UrlEvent,
};

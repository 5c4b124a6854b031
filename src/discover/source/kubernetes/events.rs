use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{api::within, lines::Lines, slice::ObjectMeta};
use crate::{BoxError, discover::source::http_api::ApiResponse};

/// The events of an open watch.
pub(super) struct Events {
    body: BoxStream<'static, Result<Bytes, BoxError>>,
    lines: Lines,
    received: VecDeque<Vec<u8>>,
}

impl Events {
    pub(super) fn new(response: ApiResponse) -> Self {
        Self { body: response.into_body(), lines: Lines::default(), received: VecDeque::new() }
    }

    /// Waits until an event is received; false if the watch has ended.
    pub(super) async fn receive(&mut self, timeout: Duration) -> Result<bool, BoxError> {
        while self.received.is_empty() {
            let Some(data) = within(Some(timeout), self.body.next()).await? else {
                return Ok(false);
            };
            self.received.extend(self.lines.push(&data?)?);
        }
        Ok(true)
    }

    /// Takes the next received event.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.received.pop_front()
    }
}

#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// An object of which only the metadata is read.
#[derive(Deserialize)]
pub(super) struct Bookmark {
    pub(super) metadata: ObjectMeta,
}

/// The error that the API server sends as an event of a watch.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) message: String,
}

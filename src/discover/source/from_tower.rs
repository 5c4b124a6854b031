use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use pin_project_lite::pin_project;
use tower::discover::Change;

use crate::{
    discover::Update,
    endpoint::{Endpoint, Origin},
};

/// Creates a source from any `tower::discover::Discover`. Its services become healthy endpoints of
/// weight 1. A service under a known key replaces the endpoint, as in tower: it starts with new
/// state.
pub fn from_tower<D>(discover: D) -> FromTower<D> {
    FromTower { discover }
}

pin_project! {
    /// The stream of [`from_tower`].
    #[derive(Clone, Debug)]
    pub struct FromTower<D> {
        #[pin]
        discover: D,
    }
}

impl<D: tower::discover::Discover> Stream for FromTower<D>
where
    D::Key: Eq,
{
    type Item = Result<Update<D::Key, D::Service>, D::Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().discover.poll_discover(cx).map_ok(|change| match change {
            Change::Insert(key, service) => {
                Update::Insert(key, Endpoint::new(service).with_origin(Origin::another()))
            }
            Change::Remove(key) => Update::Remove(key),
        })
    }
}

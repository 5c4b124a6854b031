use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use pin_project_lite::pin_project;

use crate::discover::Update;

/// Creates a source from a stream of whole sets of addresses, such as those of a name service. Each
/// address is its own key.
pub fn sets<S>(sets: S) -> Sets<S> {
    Sets { sets }
}

pin_project! {
    /// The stream of [`sets`].
    #[derive(Clone, Debug)]
    pub struct Sets<S> {
        #[pin]
        sets: S,
    }
}

impl<S: Stream<Item = Result<I, E>>, I: IntoIterator<Item = A>, A: Clone, E> Stream for Sets<S> {
    type Item = Result<Update<A, A>, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.project().sets.poll_next(cx).map_ok(|set| {
            let endpoints = set.into_iter().map(|address| (address.clone(), address.into()));
            Update::Reset(endpoints.collect())
        })
    }
}

use super::{leaf::Leaf, request_view::RequestView};

/// Sees the tests of conditions. A test is written once over it, so an explanation cannot differ
/// from what requests meet.
pub(in crate::rules) trait Observe {
    /// Runs the tests of a group.
    fn group(&mut self, name: &'static str, run: impl FnOnce(&mut Self) -> bool) -> bool;

    /// Sees a test. `found` is the position of the value that matched.
    fn leaf(&mut self, leaf: &Leaf, request: &RequestView<'_>, found: Option<usize>);
}

/// Sees nothing.
pub(in crate::rules) struct Silent;

impl Observe for Silent {
    #[inline]
    fn group(&mut self, _name: &'static str, run: impl FnOnce(&mut Self) -> bool) -> bool {
        run(self)
    }

    #[inline]
    fn leaf(&mut self, _leaf: &Leaf, _request: &RequestView<'_>, _found: Option<usize>) {}
}

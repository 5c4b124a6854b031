/// What a pick leaves for the attempt that follows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PickMetadata {
    /// The class of the request, as the strategy assigns it.
    pub(crate) class: u32,
    /// A number for the tracker.
    pub(crate) note: u64,
}

/// What a pick has left for the attempt that follows from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PickMetadata {
    /// Of the request, as the strategy has it.
    pub(crate) class: u32,
    /// For the tracker.
    pub(crate) note: u64,
}

/// Selects which addresses of a host are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// All addresses. The default.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// IPv4, or IPv6 if there is no IPv4 address.
    PreferV4,
    /// IPv6, or IPv4 if there is no IPv6 address.
    PreferV6,
}

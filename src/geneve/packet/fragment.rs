use etherparse::{Ipv4HeaderSlice, Ipv6ExtensionSlice, Ipv6ExtensionsSlice};

/// The part of a packet that a fragment is. The number identifies the packet between two
/// addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// It has the ports.
    First(u32),
    /// It has no ports.
    Later(u32),
}

impl Fragment {
    fn of(id: u32, offset: u16, more: bool) -> Option<Self> {
        match (offset, more) {
            // Also IPv6's "atomic fragment": a whole packet with a fragment header.
            (0, false) => None,
            (0, true) => Some(Self::First(id)),
            _ => Some(Self::Later(id)),
        }
    }

    pub(super) fn of_ipv4(header: &Ipv4HeaderSlice<'_>) -> Option<Self> {
        let offset = header.fragments_offset().value();
        Self::of(header.identification().into(), offset, header.more_fragments())
    }

    pub(super) fn of_ipv6(extensions: &Ipv6ExtensionsSlice<'_>) -> Option<Self> {
        extensions.clone().into_iter().find_map(|extension| match extension {
            Ipv6ExtensionSlice::Fragment(header) => {
                let offset = header.fragment_offset().value();
                Self::of(header.identification(), offset, header.more_fragments())
            }
            _ => None,
        })
    }
}

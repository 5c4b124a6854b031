//! Where packets enter and leave a gateway.
//!
//! - `packet_end`: the trait.
//! - `memory_end`: a pair in memory, for tests and for programs that have packets.
//! - `tun_end`: a tun device of Linux.

mod memory_end;
mod packet_end;
#[cfg(all(feature = "geneve-tun", target_os = "linux"))]
mod tun_end;

#[cfg(all(feature = "geneve-tun", target_os = "linux"))]
pub use self::tun_end::TunEnd;
pub use self::{
    memory_end::{MemoryEnd, memory_ends},
    packet_end::{PacketEnd, Written},
};

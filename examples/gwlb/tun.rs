//! Creates tun devices.

use std::net::Ipv4Addr;

use tower_lb::BoxError;
#[cfg(target_os = "linux")]
pub(crate) use tower_lb::geneve::TunEnd;

/// The address of the device and the length of its network's prefix.
pub(crate) type Network = (Ipv4Addr, u8);

/// Creates a tun device. The kernel removes it when the end is dropped.
#[cfg(target_os = "linux")]
pub(crate) fn create(name: &str, network: Option<Network>) -> Result<TunEnd, BoxError> {
    let mut device = tun_rs::DeviceBuilder::new().name(name).mtu(1500);
    if let Some((address, prefix)) = network {
        device = device.ipv4(address, prefix, None);
    }
    Ok(TunEnd::new(device.build_async()?))
}

/// Stands in for the device on other systems.
#[cfg(not(target_os = "linux"))]
pub(crate) type TunEnd = tower_lb::geneve::MemoryEnd;

#[cfg(not(target_os = "linux"))]
pub(crate) fn create(_: &str, _: Option<Network>) -> Result<TunEnd, BoxError> {
    Err("tun devices need Linux".into())
}

//! The limits of file descriptors and ports: each flow has a socket of its own.

/// The part of the descriptors and ports that flows take by default. The rest is for everything
/// else that the process opens.
const SHARE_PERCENT: u64 = 70;
const DEFAULT_MAX_FLOWS: u32 = 100_000;
/// Where the limit is unknown.
const CAUTIOUS_MAX_FLOWS: u32 = 700;

/// Returns the soft limit of open files, on Linux.
pub(super) fn limit() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Returns how many ports the kernel chooses from for sockets without a port of their own, on
/// Linux.
fn ports() -> Option<u64> {
    parse_ports(&std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?)
}

fn parse_ports(range: &str) -> Option<u64> {
    let mut ends = range.split_whitespace().map(|port| port.parse::<u16>().ok());
    let (first, last) = (ends.next()??, ends.next()??);
    Some(u64::from(last.checked_sub(first)?) + 1)
}

/// Returns how many sockets a relay opens by default.
pub(super) fn default_max_flows() -> u32 {
    default_of(limit(), ports())
}

fn default_of(descriptors: Option<u64>, ports: Option<u64>) -> u32 {
    let share = |limit: u64| limit / 100 * SHARE_PERCENT + limit % 100 * SHARE_PERCENT / 100;
    let Some(descriptors) = descriptors else { return CAUTIOUS_MAX_FLOWS };
    let limit = descriptors.min(ports.unwrap_or(u64::MAX));
    u32::try_from(share(limit)).unwrap_or(u32::MAX).clamp(1, DEFAULT_MAX_FLOWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_read() {
        let limits = "Limit    Soft Limit  Hard Limit  Units\nMax open files   1024  4096  files\n";
        assert_eq!(parse(limits), Some(1024));
        assert_eq!(parse("Max open files   unlimited  unlimited  files"), Some(u64::MAX));
        assert_eq!((parse(""), parse("Max open files x")), (None, None));
        assert!((1..=DEFAULT_MAX_FLOWS).contains(&default_max_flows()));
    }

    #[test]
    fn the_range_of_ports_is_read() {
        assert_eq!(parse_ports("32768\t60999\n"), Some(28_232));
        assert_eq!(parse_ports("1 65535"), Some(65_535));
        let invalid = ["", "1", "2 1", "x 1", "1 65536"];
        assert!(invalid.iter().all(|range| parse_ports(range).is_none()));
    }

    #[test]
    fn flows_take_a_share_of_what_is_scarcer() {
        assert_eq!(default_of(Some(1000), Some(28_232)), 700);
        assert_eq!(default_of(Some(1 << 20), Some(28_232)), 19_762);
        assert_eq!(default_of(Some(u64::MAX), Some(28_232)), 19_762);
        assert_eq!(default_of(Some(1 << 20), None), DEFAULT_MAX_FLOWS);
        assert_eq!(default_of(None, Some(28_232)), CAUTIOUS_MAX_FLOWS);
        assert_eq!((default_of(Some(0), None), default_of(Some(1), Some(1))), (1, 1));
    }
}

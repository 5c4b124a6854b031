//! The limit of file descriptors: each flow has a socket of its own.

/// The part of the descriptors that flows take by default. The rest is for everything else that the
/// process opens.
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

/// Returns how many sockets a relay opens by default.
pub(super) fn default_max_flows() -> u32 {
    let share = |limit: u64| limit / 100 * SHARE_PERCENT + limit % 100 * SHARE_PERCENT / 100;
    let Some(limit) = limit() else { return CAUTIOUS_MAX_FLOWS };
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
}

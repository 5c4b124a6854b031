//! Counters by reason: atomics that are written where something happens, and read as a plain value.

use std::fmt;

/// Defines counters by reason: the public value, the reasons, and the atomics.
///
/// `pub struct Value, Counters by Reason { field: Variant, }`. The name of a field is also the
/// label of its reason.
macro_rules! counts {
    (
        $(#[$attribute:meta])*
        pub struct $value:ident, $counters:ident by $reason:ident {
            $($(#[$doc:meta])* $field:ident: $variant:ident,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize))]
        #[non_exhaustive]
        pub struct $value {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl $value {
            /// Returns each reason with its count. The reasons are named like the fields.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($field), self.$field)),+].into_iter()
            }

            /// Returns the sum over all reasons.
            #[must_use]
            pub fn total(&self) -> u64 {
                self.iter().map(|(_, count)| count).sum()
            }
        }

        impl std::fmt::Display for $value {
            /// The counts above 0, such as "2 transport, 1 timeout", or "none".
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $crate::counts::write_counts(f, self.iter())
            }
        }

        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $reason {
            $($variant,)+
        }

        impl $reason {
            /// Returns the name of the field that counts it.
            #[allow(dead_code, reason = "not every kind of counter is in log events")]
            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)+
                }
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct $counters {
            $($field: std::sync::atomic::AtomicU64,)+
        }

        impl $counters {
            /// Counts one more.
            pub(crate) fn count(&self, reason: $reason) {
                let counter = match reason {
                    $($reason::$variant => &self.$field,)+
                };
                counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }

            pub(crate) fn read(&self) -> $value {
                $value {
                    $($field: self.$field.load(std::sync::atomic::Ordering::Relaxed),)+
                }
            }
        }
    };
}

/// Writes the counts above 0 as "2 transport, 1 timeout", or "none".
pub(crate) fn write_counts(
    f: &mut fmt::Formatter<'_>,
    counts: impl Iterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let mut separator = "";
    for (reason, count) in counts.filter(|&(_, count)| count > 0) {
        write!(f, "{separator}{count} ")?;
        reason.split('_').enumerate().try_for_each(|(index, word)| {
            write!(f, "{}{word}", if index == 0 { "" } else { " " })
        })?;
        separator = ", ";
    }
    if separator.is_empty() { f.write_str("none") } else { Ok(()) }
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro defines public items")]
mod tests {
    counts! {
        /// Two reasons.
        pub struct Two, TwoCounters by TwoReason {
            /// The first.
            too_early: TooEarly,
            /// The second.
            late: Late,
        }
    }

    #[test]
    fn counts_are_read_and_shown_by_reason() {
        let counters = TwoCounters::default();
        assert_eq!(counters.read().to_string(), "none");
        counters.count(TwoReason::Late);
        assert_eq!(counters.read().to_string(), "1 late");
        counters.count(TwoReason::TooEarly);
        counters.count(TwoReason::TooEarly);
        let two = counters.read();
        assert_eq!(two, Two { too_early: 2, late: 1 });
        assert_eq!((two.to_string().as_str(), two.total()), ("2 too early, 1 late", 3));
    }
}

use std::{borrow::Cow, error::Error as StdError, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A time of a configuration file: a number of seconds, or a text such as `"30s"`.
///
/// The units are `ms`, `s`, `m`, `h` and `d`, and `ns` and `us` for the sake of completeness; a
/// text may have several parts, such as `"1m30s"`. It is written with the largest unit that needs
/// no fraction.
///
/// ```
/// use std::time::Duration;
/// use tower_lb::alb::config::Time;
///
/// let time: Time = "1m30s".parse()?;
/// assert_eq!(time.get(), Duration::from_secs(90));
/// assert_eq!(time.to_string(), "90s");
/// assert!("30".parse::<Time>().is_err());
/// # Ok::<_, tower_lb::alb::config::InvalidTime>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(Duration);

/// The units, the largest first, in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Time {
    /// Returns a time of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns the time.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Returns true for 0.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for Time {
    fn from(time: Duration) -> Self {
        Self(time)
    }
}

impl From<Time> for Duration {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        if nanos == 0 {
            return f.write_str("0s");
        }
        let exact = UNITS.iter().find(|(_, unit)| nanos % unit == 0);
        exact.map_or(Ok(()), |(name, unit)| write!(f, "{}{name}", nanos / unit))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTime;

impl fmt::Display for InvalidTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a number of seconds, or numbers with a unit, such as \"1m30s\"")
    }
}

impl StdError for InvalidTime {}

impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let (mut rest, mut nanos) = (text.trim(), 0_u128);
        if rest.is_empty() {
            return Err(InvalidTime);
        }
        while !rest.is_empty() {
            let digits = rest.find(|char: char| !char.is_ascii_digit()).ok_or(InvalidTime)?;
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|char: char| !char.is_ascii_lowercase());
            let (name, after) = after.split_at(letters.unwrap_or(after.len()));
            let number: u128 = number.parse().map_err(|_| InvalidTime)?;
            let unit = UNITS.iter().find(|(unit, _)| *unit == name).ok_or(InvalidTime)?.1;
            let part = number.checked_mul(unit).ok_or(InvalidTime)?;
            nanos = nanos.checked_add(part).ok_or(InvalidTime)?;
            rest = after.trim_start();
        }
        let (seconds, rest) = (nanos / 1_000_000_000, (nanos % 1_000_000_000) as u32);
        let seconds = u64::try_from(seconds).map_err(|_| InvalidTime)?;
        Ok(Self(Duration::new(seconds, rest)))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of seconds, or a time such as \"30s\"")
            }

            fn visit_u64<E>(self, seconds: u64) -> Result<Time, E> {
                Ok(Time::from_secs(seconds))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Time, E> {
                let seconds = u64::try_from(seconds);
                seconds.map(Time::from_secs).map_err(|_| E::custom(InvalidTime))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Time, E> {
                let time = Duration::try_from_secs_f64(seconds);
                time.map(Time).map_err(|_| E::custom(InvalidTime))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time: a number of seconds, or a text such as `30s` or `1m30s`. \
                            The units are ns, us, ms, s, m, h and d.",
            "anyOf": [
                { "type": "number", "minimum": 0 },
                { "type": "string", "pattern": "^([0-9]+(ns|us|ms|s|m|h|d) ?)+$" },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nonsense_is_rejected() {
        for text in ["", "s", "1", "-1s", "1.5s", "1 s", "1S", "1sm", "99999999999999999999s"] {
            assert_eq!(text.parse::<Time>(), Err(InvalidTime), "{text}");
        }
        assert!("18446744073709551615d".parse::<Time>().is_err());
        assert!(serde_json::from_str::<Time>("-1").is_err());
        assert!(serde_json::from_str::<Time>("1e300").is_err());
        let half = serde_json::from_str::<Time>("0.5").unwrap();
        assert_eq!(half.get(), Duration::from_millis(500));
    }

    proptest! {
        #[test]
        fn a_time_survives_its_text(seconds: u64, nanos in 0_u32..1_000_000_000) {
            let time = Time(Duration::new(seconds, nanos));
            prop_assert_eq!(time.to_string().parse::<Time>(), Ok(time));
        }
    }
}

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A time that is shown as API Gateway writes it: `12/Mar/2020:19:03:58 +0000`.
pub(crate) struct Utc(Duration);

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Utc {
    /// A time before 1970 is taken for its beginning.
    pub(crate) fn at(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    pub(crate) fn millis(&self) -> u64 {
        self.0.as_millis() as u64
    }

    /// As RFC 3339 and EventBridge write it: `2020-03-12T19:03:58Z`.
    pub(crate) fn to_rfc3339(&self) -> String {
        let Civil { year, month, day, time: (hour, minute, second) } = self.civil();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    /// The date from the days since 1970: Howard Hinnant's `civil_from_days`, whose years begin in
    /// March, so that the leap day comes last.
    fn civil(&self) -> Civil {
        let seconds = self.0.as_secs();
        let time = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let days = seconds / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * from_march + 2) / 5 + 1;
        let year = 400 * era + year + u64::from(from_march >= 10);
        Civil { year, month: (from_march + 2) % 12 + 1, day, time }
    }
}

/// Month and day count from 1.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    time: (u64, u64, u64),
}

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, time: (hour, minute, second) } = self.civil();
        let month = MONTHS[month as usize - 1];
        write!(f, "{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "01/Jan/1970:00:00:00 +0000"),
            (1_584_039_838, "12/Mar/2020:19:03:58 +0000"),
            (951_782_400, "29/Feb/2000:00:00:00 +0000"),
            (951_868_799, "29/Feb/2000:23:59:59 +0000"),
            (4_107_542_400, "01/Mar/2100:00:00:00 +0000"),
            (1_735_689_599, "31/Dec/2024:23:59:59 +0000"),
        ] {
            let time = Utc::at(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(time.to_string(), expected);
        }
        let leap_day = Utc::at(UNIX_EPOCH + Duration::from_secs(951_782_400));
        assert_eq!(leap_day.to_rfc3339(), "2000-02-29T00:00:00Z");
        assert_eq!(Utc::at(UNIX_EPOCH - Duration::from_secs(1)).millis(), 0);
    }
}

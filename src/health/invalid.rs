use std::{error::Error, fmt, time::Duration};

/// A setting of a health adapter that makes no sense, by the name of the method that sets it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum InvalidSetting {
    /// A time that must pass, or a number that must be reached, is 0.
    Zero {
        /// What to set.
        setting: &'static str,
    },
    /// A number that is not one, or out of its range.
    OutOfRange {
        /// What to set.
        setting: &'static str,
        /// The least that makes sense.
        least: f64,
        /// The most that makes sense.
        most: f64,
    },
    /// Two settings that contradict each other.
    Inverted {
        /// What must be the lower one.
        lower: &'static str,
        /// What must not be below it.
        upper: &'static str,
    },
}

impl InvalidSetting {
    pub(super) fn if_zero(setting: &'static str, time: Duration) -> Result<(), Self> {
        if time.is_zero() { Err(Self::Zero { setting }) } else { Ok(()) }
    }

    pub(super) fn if_none(setting: &'static str, number: u64) -> Result<(), Self> {
        if number == 0 { Err(Self::Zero { setting }) } else { Ok(()) }
    }

    pub(super) fn unless_within(
        setting: &'static str,
        number: f64,
        [least, most]: [f64; 2],
    ) -> Result<(), Self> {
        // Not a number is not within.
        let within = number >= least && number <= most;
        if within { Ok(()) } else { Err(Self::OutOfRange { setting, least, most }) }
    }

    pub(super) fn if_inverted<T: PartialOrd>(
        (lower, low): (&'static str, T),
        (upper, high): (&'static str, T),
    ) -> Result<(), Self> {
        if low > high { Err(Self::Inverted { lower, upper }) } else { Ok(()) }
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { setting } => write!(f, "{setting} is 0: set it to more than that"),
            Self::OutOfRange { setting, least, most } if *most == f64::INFINITY => {
                write!(f, "{setting} must be a number and at least {least}")
            }
            Self::OutOfRange { setting, least, most } => {
                write!(f, "{setting} must be a number from {least} to {most}")
            }
            Self::Inverted { lower, upper } => {
                write!(f, "{lower} is above {upper}: lower the one or raise the other")
            }
        }
    }
}

impl Error for InvalidSetting {}

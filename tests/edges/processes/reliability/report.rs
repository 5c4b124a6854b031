use std::{fmt, time::Duration};

use super::load::Answer;

/// What a fault has cost.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) requests: usize,
    pub(crate) failed: usize,
    /// Before the fault.
    pub(crate) failed_before: usize,
    pub(crate) slow: usize,
    /// From the fault to the beginning of the last request that failed or was slow; recovery's own
    /// mishaps are among them.
    pub(crate) last_bad: Duration,
    /// From the end of the fault to the first request that the backend served.
    pub(crate) back: Option<Duration>,
    /// To the first second in which it served nearly its share.
    pub(crate) whole: Option<Duration>,
}

/// Slower than this is slow; usual are 5 ms.
const SLOW: Duration = Duration::from_millis(200);

impl Report {
    pub(crate) fn new(
        answers: &[Answer],
        name: String,
        backends: usize,
        broken: Duration,
        mended: Duration,
    ) -> Self {
        let is_bad = |answer: &&Answer| answer.by.is_none() || answer.took > SLOW;
        let since_fault = || answers.iter().filter(|answer| answer.at + answer.took >= broken);
        let last_bad = since_fault().filter(is_bad).map(|answer| answer.at).max();
        let mut served: Vec<_> = answers
            .iter()
            .filter(|answer| answer.at >= mended && answer.by.as_ref() == Some(&name))
            .map(|answer| answer.at)
            .collect();
        served.sort_unstable();
        let end = answers.iter().map(|answer| answer.at).max().unwrap_or_default();
        let second = Duration::from_secs(1);
        let per_second = answers.len() as f64 / end.as_secs_f64().max(1.0);
        let nearly = (per_second / backends as f64 * 0.8) as usize;
        let whole = served.iter().find(|&&at| {
            let within = served.iter().filter(|&&other| (at..at + second).contains(&other));
            at + second <= end && within.count() >= nearly
        });
        Self {
            requests: answers.len(),
            failed_before: answers
                .iter()
                .filter(|answer| answer.at + answer.took < broken && answer.by.is_none())
                .count(),
            failed: since_fault().filter(|answer| answer.by.is_none()).count(),
            slow: since_fault().filter(|answer| answer.by.is_some() && answer.took > SLOW).count(),
            last_bad: last_bad.unwrap_or(broken).saturating_sub(broken),
            back: served.first().map(|&at| at - mended),
            whole: whole.map(|&at| at - mended),
        }
    }

    /// The last columns of a table.
    pub(crate) fn row(&self) -> String {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let time = |time: Option<Duration>| time.map_or_else(|| "not within 13 s".into(), seconds);
        let Self { failed, slow, last_bad, back, whole, .. } = self;
        let (back, whole) = (time(*back), time(*whole));
        format!("| {failed} | {slow} | {} | {back} | {whole} |", seconds(*last_bad))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of {} requests {} failed and {} were slow, the last {:.2?} after the fault; it served again \
             {:?} after its end and its share after {:?}",
            self.requests, self.failed, self.slow, self.last_bad, self.back, self.whole,
        )
    }
}

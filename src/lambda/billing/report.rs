use serde::Deserialize;

/// What Lambda reports of an invocation at the end of its log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Report {
    pub(super) billed_millis: f64,
    pub(super) memory_mb: f64,
    pub(super) max_memory_mb: f64,
    /// `None` unless an environment was started for the invocation.
    pub(super) init_millis: Option<f64>,
}

/// Values above this are no report of Lambda: a day in milliseconds, 95 TB in MB.
const MAX_VALUE: f64 = 1e8;

impl Report {
    /// Reads the last report of `log`, as text or JSON. `None` if there is no valid one.
    ///
    /// A function can write such a line itself, but the one of Lambda comes later.
    pub(super) fn find(log: &str) -> Option<Self> {
        log.lines().rev().find_map(|line| Self::of_text(line).or_else(|| Self::of_json(line)))
    }

    /// Reads `REPORT RequestId: …`, whose fields are separated by tabs.
    fn of_text(line: &str) -> Option<Self> {
        let fields = line.trim().strip_prefix("REPORT RequestId: ")?;
        let mut report = Metrics::default();
        for field in fields.split('\t') {
            let Some((name, value)) = field.trim().split_once(": ") else { continue };
            let value = match name {
                "Billed Duration" => &mut report.billed_duration_ms,
                "Memory Size" => &mut report.memory_size_mb,
                "Max Memory Used" => &mut report.max_memory_used_mb,
                "Init Duration" => &mut report.init_duration_ms,
                "Restore Duration" => &mut report.restore_duration_ms,
                _ => continue,
            }
            .insert(value.split(' ').next()?.parse().ok()?);
            if !value.is_finite() {
                return None;
            }
        }
        report.into_report()
    }

    /// Reads an event of type `platform.report`, as functions with logs in JSON have it.
    fn of_json(line: &str) -> Option<Self> {
        let line = line.trim();
        if !line.starts_with('{') {
            return None;
        }
        let event: Event = serde_json::from_str(line).ok()?;
        (event.kind == "platform.report").then(|| event.record.metrics.into_report()).flatten()
    }
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    record: Record,
}

#[derive(Deserialize)]
struct Record {
    metrics: Metrics,
}

#[derive(Default, Deserialize)]
struct Metrics {
    #[serde(rename = "billedDurationMs")]
    billed_duration_ms: Option<f64>,
    #[serde(rename = "memorySizeMB")]
    memory_size_mb: Option<f64>,
    #[serde(rename = "maxMemoryUsedMB")]
    max_memory_used_mb: Option<f64>,
    #[serde(rename = "initDurationMs")]
    init_duration_ms: Option<f64>,
    #[serde(rename = "restoreDurationMs")]
    restore_duration_ms: Option<f64>,
}

impl Metrics {
    fn into_report(self) -> Option<Report> {
        // An environment is started anew, or restored from a snapshot.
        let init_millis = self.init_duration_ms.or(self.restore_duration_ms);
        let report = Report {
            billed_millis: self.billed_duration_ms?,
            memory_mb: self.memory_size_mb?,
            max_memory_mb: self.max_memory_used_mb.unwrap_or_default(),
            init_millis,
        };
        let values = [report.billed_millis, report.memory_mb, report.max_memory_mb];
        let is_valid = |value: f64| (0.0..=MAX_VALUE).contains(&value);
        values.into_iter().chain(init_millis).all(is_valid).then_some(report)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WARM: &str = "START RequestId: 8f50 Version: $LATEST\nhello\nEND RequestId: 8f50\n\
        REPORT RequestId: 8f50\tDuration: 3.21 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\t\
        Max Memory Used: 36 MB\t\n";

    #[test]
    fn reads_the_report_as_text_and_as_json() {
        let warm =
            Report { billed_millis: 4.0, memory_mb: 128.0, max_memory_mb: 36.0, init_millis: None };
        assert_eq!(Report::find(WARM), Some(warm));
        let cold = WARM.replace("36 MB\t", "36 MB\tInit Duration: 120.05 ms\t");
        assert_eq!(Report::find(&cold).unwrap().init_millis, Some(120.05));
        let restored = WARM.replace("36 MB\t", "36 MB\tRestore Duration: 9.5 ms\t");
        assert_eq!(Report::find(&restored).unwrap().init_millis, Some(9.5));
        let json = r#"{"time":"2024-01-01T00:00:00.000Z","type":"platform.report","record":{
            "requestId":"8f50","metrics":{"durationMs":3.21,"billedDurationMs":4,"memorySizeMB":128,
            "maxMemoryUsedMB":36,"initDurationMs":120.05},"status":"success"}}"#;
        let json = json.replace('\n', "");
        assert_eq!(Report::find(&json).unwrap(), Report { init_millis: Some(120.05), ..warm });
        // The function's own line comes first, so it does not count.
        let forged = WARM.replace("hello", "REPORT RequestId: 1\tBilled Duration: 9999 ms");
        assert_eq!(Report::find(&forged), Some(warm));
    }

    #[test]
    fn a_log_without_a_valid_report_gives_none() {
        for log in [
            "",
            "hello",
            "REPORT RequestId: 1",
            "REPORT RequestId: 1\tBilled Duration: 4 ms",
            "REPORT RequestId: 1\tBilled Duration: NaN ms\tMemory Size: 128 MB",
            "REPORT RequestId: 1\tBilled Duration: -4 ms\tMemory Size: 128 MB",
            "REPORT RequestId: 1\tBilled Duration: 1e300 ms\tMemory Size: 128 MB",
            "{",
            r#"{"type":"platform.start","record":{"metrics":{}}}"#,
            r#"{"type":"platform.report","record":{"metrics":{"billedDurationMs":"4"}}}"#,
        ] {
            assert_eq!(Report::find(log), None, "{log}");
        }
    }

    proptest! {
        #[test]
        fn no_log_panics(log in any::<String>(), cut in 0..WARM.len()) {
            Report::find(&log);
            Report::find(&WARM[..cut]);
            Report::find(&format!("REPORT RequestId: {log}"));
        }
    }
}

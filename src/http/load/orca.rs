use std::collections::HashMap;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use http::HeaderMap;
use prost::Message;
use serde::Deserialize;

use crate::outcome::LoadReport;

/// Reads an ORCA (Open Request Cost Aggregation) load report from the headers or trailers of a
/// response.
///
/// It reads all encodings: `endpoint-load-metrics-bin` (protocol buffers in base64, which gRPC
/// sends in trailers), and `endpoint-load-metrics` with the prefix `TEXT`, `JSON` or `BIN`. An
/// invalid value is no report. A figure that is negative or not a number is left out.
///
/// [`UntilBodyEnd`](crate::http::UntilBodyEnd) calls it for strategies that use load reports. Other
/// trackers can pass the report to [`Attempt::report`](crate::outcome::Attempt::report).
#[must_use]
pub fn load_report(headers: &HeaderMap) -> Option<LoadReport> {
    if let Some(value) = headers.get("endpoint-load-metrics-bin") {
        return binary(value.as_bytes());
    }
    let value = headers.get("endpoint-load-metrics")?.to_str().ok()?;
    let (encoding, value) = value.trim().split_once(' ')?;
    match encoding {
        "TEXT" => text(value),
        "JSON" => serde_json::from_str::<Orca>(value).ok().map(LoadReport::from),
        "BIN" => binary(value.trim().as_bytes()),
        _ => None,
    }
}

fn binary(value: &[u8]) -> Option<LoadReport> {
    let bytes = BASE64_STANDARD.decode(value).or_else(|_| BASE64_STANDARD_NO_PAD.decode(value));
    Orca::decode(&*bytes.ok()?).ok().map(LoadReport::from)
}

/// Parses text such as `cpu_utilization=0.3,named_metrics.queue=7`.
fn text(value: &str) -> Option<LoadReport> {
    let mut orca = Orca::default();
    for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), value.trim().parse().ok()?);
        match name.split_once('.') {
            None => match name {
                "cpu_utilization" => orca.cpu_utilization = Some(value),
                "mem_utilization" => orca.mem_utilization = Some(value),
                "application_utilization" => orca.application_utilization = Some(value),
                "rps_fractional" => orca.rps_fractional = Some(value),
                "eps" => orca.eps = Some(value),
                _ => {}
            },
            Some((map, name)) => {
                let map = match map {
                    "named_metrics" => &mut orca.named_metrics,
                    "utilization" => &mut orca.utilization,
                    "request_cost" => &mut orca.request_cost,
                    _ => continue,
                };
                map.insert(name.to_owned(), value);
            }
        }
    }
    Some(orca.into())
}

/// The message `xds.data.orca.v3.OrcaLoadReport`. Text and JSON tell a figure of 0 from one that is
/// not reported. In the binary format, servers leave out both.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(default)]
struct Orca {
    #[prost(double, optional, tag = "1")]
    #[serde(alias = "cpuUtilization")]
    cpu_utilization: Option<f64>,
    #[prost(double, optional, tag = "2")]
    #[serde(alias = "memUtilization")]
    mem_utilization: Option<f64>,
    #[prost(map = "string, double", tag = "4")]
    #[serde(alias = "requestCost")]
    request_cost: HashMap<String, f64>,
    #[prost(map = "string, double", tag = "5")]
    utilization: HashMap<String, f64>,
    #[prost(double, optional, tag = "6")]
    #[serde(alias = "rpsFractional")]
    rps_fractional: Option<f64>,
    #[prost(double, optional, tag = "7")]
    eps: Option<f64>,
    #[prost(map = "string, double", tag = "8")]
    #[serde(alias = "namedMetrics")]
    named_metrics: HashMap<String, f64>,
    #[prost(double, optional, tag = "9")]
    #[serde(alias = "applicationUtilization")]
    application_utilization: Option<f64>,
}

impl From<Orca> for LoadReport {
    fn from(orca: Orca) -> Self {
        // NaN counts as not reported.
        let reported = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let mut report = Self::new()
            .with_cpu_utilization(reported(orca.cpu_utilization))
            .with_memory_utilization(reported(orca.mem_utilization))
            .with_application_utilization(reported(orca.application_utilization))
            .with_requests_per_second(reported(orca.rps_fractional))
            .with_errors_per_second(reported(orca.eps));
        let maps = [
            ("named_metrics", orca.named_metrics),
            ("utilization", orca.utilization),
            ("request_cost", orca.request_cost),
        ];
        for (map, metrics) in maps {
            for (name, value) in metrics {
                report = report.with_metric(format!("{map}.{name}"), value);
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(name: &'static str, value: &str) -> Option<LoadReport> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).ok()?);
        load_report(&headers)
    }

    fn expected() -> LoadReport {
        let report = LoadReport::new().with_cpu_utilization(0.3).with_requests_per_second(100.0);
        let report = report.with_errors_per_second(0.5);
        report.with_metric("named_metrics.queue", 7.0).with_metric("utilization.disk", 0.9)
    }

    #[test]
    fn all_encodings_say_the_same() {
        let text = "TEXT cpu_utilization=0.3, rps_fractional=100,eps=0.5,named_metrics.queue=7,utilization.disk=0.9";
        assert_eq!(read("endpoint-load-metrics", text), Some(expected()));
        for json in [
            r#"JSON {"cpu_utilization": 0.3, "rps_fractional": 100, "eps": 0.5, "named_metrics": {"queue": 7}, "utilization": {"disk": 0.9}}"#,
            r#"JSON {"cpuUtilization": 0.3, "rpsFractional": 100, "eps": 0.5, "namedMetrics": {"queue": 7}, "utilization": {"disk": 0.9}, "new": []}"#,
        ] {
            assert_eq!(read("endpoint-load-metrics", json), Some(expected()));
        }
        let orca = Orca {
            cpu_utilization: Some(0.3),
            rps_fractional: Some(100.0),
            eps: Some(0.5),
            named_metrics: [("queue".into(), 7.0)].into(),
            utilization: [("disk".into(), 0.9)].into(),
            ..Orca::default()
        };
        let binary = BASE64_STANDARD.encode(orca.encode_to_vec());
        assert_eq!(read("endpoint-load-metrics-bin", &binary), Some(expected()));
        assert_eq!(read("endpoint-load-metrics", &format!("BIN {binary}")), Some(expected()));
        let unpadded = BASE64_STANDARD_NO_PAD.encode(orca.encode_to_vec());
        assert_eq!(read("endpoint-load-metrics-bin", &unpadded), Some(expected()));
    }

    #[test]
    fn a_reported_zero_is_a_report() {
        for zero in ["TEXT cpu_utilization=0", r#"JSON {"cpu_utilization": 0.0, "eps": null}"#] {
            let report = read("endpoint-load-metrics", zero).unwrap();
            assert_eq!(report, LoadReport::new().with_cpu_utilization(0.0), "{zero}");
            assert_eq!(report.utilization(&[]), Some(0.0));
        }
        assert!(read("endpoint-load-metrics-bin", "").unwrap().is_empty());
    }

    /// The bytes are those that other implementations write.
    #[test]
    fn the_binary_encoding_is_that_of_protocol_buffers() {
        // cpu_utilization (field 1, 64 bits) 0.5, application_utilization (field 9) 2.0
        let bytes = [9, 0, 0, 0, 0, 0, 0, 0xE0, 0x3F, 73, 0, 0, 0, 0, 0, 0, 0, 0x40];
        let report = binary(BASE64_STANDARD.encode(bytes).as_bytes()).unwrap();
        assert_eq!(report.cpu_utilization(), Some(0.5));
        assert_eq!(report.application_utilization(), Some(2.0));
    }

    #[test]
    fn nonsense_is_no_report() {
        for value in
            ["", "TEXT", "TEXT a", "JSON {", "BIN !", "XML <a/>", "TEXT cpu_utilization=high"]
        {
            assert_eq!(read("endpoint-load-metrics", value), None, "{value}");
        }
        let forged =
            read("endpoint-load-metrics", "TEXT cpu_utilization=-1,eps=NaN,rps_fractional=inf");
        let forged = forged.unwrap();
        assert_eq!(forged.cpu_utilization(), None);
        assert_eq!((forged.errors_per_second(), forged.requests_per_second()), (None, None));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "[ -~]{0,80}", encoding in "TEXT |JSON |BIN |") {
            let _ = read("endpoint-load-metrics", &format!("{encoding}{value}"));
            let _ = read("endpoint-load-metrics-bin", &value);
        }
    }
}

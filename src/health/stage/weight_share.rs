use crate::endpoint::Endpoint;

/// What weights are multiplied by, so that an endpoint of weight 1 can have a part of it.
const SCALE: f64 = 100.0;

/// The endpoint with a part of its weight, in hundredths. A weight above 0 stays above 0.
pub(crate) fn with_weight_share<T>(endpoint: Endpoint<T>, part: f64) -> Endpoint<T> {
    let weight = match endpoint.weight() {
        0 => 0,
        // The cast saturates.
        weight => (f64::from(weight) * SCALE * part).round().max(1.0) as u32,
    };
    endpoint.with_weight(weight)
}

use crate::endpoint::Endpoint;

/// The factor by which weights are multiplied, so that an endpoint of weight 1 can have a part of
/// it.
const WEIGHT_SCALE: f64 = 100.0;

/// Multiplies the endpoint's weight by 100 and by `share`. A weight above 0 stays above 0.
pub(crate) fn with_weight_share<T>(endpoint: Endpoint<T>, share: f64) -> Endpoint<T> {
    let weight = match endpoint.weight() {
        0 => 0,
        // The cast saturates.
        weight => (f64::from(weight) * WEIGHT_SCALE * share).round().max(1.0) as u32,
    };
    endpoint.with_present_weight(weight)
}

use super::at::At;
use crate::{
    alb::config::{Resilience, Time},
    retry::Budget,
};

pub(super) fn check(resilience: &Resilience, at: &mut At<'_>) {
    let Resilience { retries, hedge, budget, outlier_detection, timeouts } = resilience;
    if let Some(retries) = retries {
        let mut at = at.at("retries");
        if retries.attempts == 0 {
            at.at("attempts").invalid(0, "at least 1");
        }
        not_zero(retries.overall, &mut at.at("overall"));
        if let Some(backoff) = retries.backoff.filter(|backoff| backoff.base > backoff.max) {
            at.at("backoff.base").invalid(backoff.base, "at most `max`");
        }
        if let Some(hedge) = hedge.filter(|hedge| *hedge >= retries.overall) {
            at.at("overall")
                .invalid(retries.overall, format!("more than `hedge`, which is {hedge}"));
        }
    }
    hedge.iter().for_each(|hedge| not_zero(*hedge, &mut at.at("hedge")));
    let built = Budget::builder()
        .share(budget.share)
        .floor(budget.floor)
        .window(budget.window.get())
        .build();
    at.at("budget").built(built);
    if let Some(detection) = outlier_detection {
        let mut at = at.at("outlier_detection");
        not_zero(detection.interval, &mut at.at("interval"));
        not_zero(detection.ejection_time, &mut at.at("ejection_time"));
        if detection.ejection_time > detection.max_ejection_time {
            let expected = "at least `ejection_time`";
            at.at("max_ejection_time").invalid(detection.max_ejection_time, expected);
        }
        if !(0.0..=100.0).contains(&detection.max_ejected_percent) {
            let expected = "a number from 0 to 100";
            at.at("max_ejected_percent").invalid(detection.max_ejected_percent, expected);
        }
    }
    let mut at = at.at("timeouts");
    not_zero(timeouts.connect, &mut at.at("connect"));
}

fn not_zero(time: Time, at: &mut At<'_>) {
    if time.is_zero() {
        at.invalid("0s", "a time above 0");
    }
}

//! The claim of the example of the same name, with less of it.
use crate::simulation::{CAPACITY, Client, Phases, recovery, run, under_overload};

const PHASES: Phases = [(0.7, 5), (1.1, 20), (0.7, 20)];

/// With a budget the servers do at least 87 % of what they can under overload (88 to 92 % over eight
/// seeds), and 93 % of what they do without retries. They recover within ten seconds. Without a
/// budget they do less than half.
#[test]
fn a_budget_keeps_an_overload_from_becoming_a_storm() {
    let (without, _) = under_overload(&run(Client::Never, PHASES, 7), PHASES);
    for client in Client::ALL {
        let seconds = run(client, PHASES, 7);
        let (good, attempts) = under_overload(&seconds, PHASES);
        let recovered = recovery(&seconds, PHASES);
        println!(
            "{}: {good:.0} good of {CAPACITY}, {attempts:.2} attempts, {recovered:?}",
            client.name()
        );
        if client == Client::Unlimited {
            assert!(good < 0.5 * CAPACITY);
        } else {
            assert!(good > 0.87 * CAPACITY, "{client:?}: {good}");
            assert!(good > 0.93 * without, "{client:?}: {good}, and {without} without retries");
            assert!(recovered.is_some_and(|after| after < 10));
            assert!(attempts <= 1.15, "{attempts}");
        }
    }
}

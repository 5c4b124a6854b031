// says: if it is a list of addresses, pass it to `discover::addresses`
use tower_lb::prelude::*;

fn main() {
    let _ = Balancer::new::<_, String>(P2c::default(), vec!["10.0.0.1:80", "10.0.0.2:80"]);
}

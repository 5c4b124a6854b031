// says: a source is a stream of `Result<Update<Key, Target>, Error>`
use futures::stream;
use tower_lb::prelude::*;

fn main() {
    let addresses = stream::iter(["10.0.0.1:80", "10.0.0.2:80"]);
    let _ = Balancer::new::<_, String>(P2c::default(), addresses);
}

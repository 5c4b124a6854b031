// says: name the strategy and not its picker: `Balancer<Client, P2c>`
use tower_lb::prelude::*;

struct Gateway<Client> {
    users: Balancer<Client, <P2c as Strategy>::Picker>,
}

fn main() {}

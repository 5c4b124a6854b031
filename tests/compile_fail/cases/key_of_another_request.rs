// says: a strategy that sees the request, as by a key, must be for the type of requests that the targets take
use std::io;

use tower::util::BoxCloneSyncService;
use tower_lb::{discover, prelude::*, strategy::stable_hash};

struct Other {
    user: &'static str,
}

type Client = BoxCloneSyncService<String, String, io::Error>;

fn balance(endpoints: Vec<(u32, Endpoint<Client>)>) {
    let by_user = Maglev::new(|request: &Other| Some(stable_hash(request.user)));
    let _ = Balancer::new(by_user, discover::list(endpoints));
}

fn main() {}

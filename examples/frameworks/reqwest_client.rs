//! reqwest with a balancer. Your client sends the requests with all its settings, and the balancer
//! selects the endpoint. `cargo run -p tower-lb-framework-examples --example reqwest_client`

use std::{collections::BTreeMap, error::Error as StdError, time::Duration};

use http::{Request, Response};
use reqwest::{Body, Client};
use tokio::{task::JoinSet, time::sleep};
use tower::{Service, ServiceExt, service_fn};
use tower_lb::{
    balance::Builder,
    discover::{self, DiscoverExt},
    http::{Origin, ReplayBody, SetOrigin, resilient},
    strategy::P2c,
};
use tower_lb_examples::backend::Backend;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Returns one endpoint: a `Service` that sends requests to `origin` with `client`.
fn endpoint(
    client: Client,
    origin: &Origin,
) -> impl Service<
    Request<ReplayBody<Body>>,
    Response = Response<Body>,
    Error = reqwest::Error,
    Future: Send,
> + Clone
+ Send
+ Sync
+ use<> {
    let send = service_fn(move |request: Request<ReplayBody<Body>>| {
        let client = client.clone();
        let request = request.map(Body::wrap);
        async move { client.execute(request.try_into()?).await.map(Response::from) }
    });
    SetOrigin::new(send, origin.clone())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let fast = Backend::start("fast", Duration::from_millis(2)).await?;
    let medium = Backend::start("medium", Duration::from_millis(4)).await?;
    let slow = Backend::start("slow", Duration::from_millis(30)).await?;

    // One client serves all endpoints, because it pools connections by address.
    let client = Client::builder().user_agent("demo").timeout(Duration::from_secs(1)).build()?;
    let origins = [&fast, &medium, &slow].map(|b| (b.name, Origin::from(b.address).into()));
    let endpoints = discover::list(origins).connect(move |origin| endpoint(client.clone(), origin));
    let balancer = Builder::http().spawn(P2c::peak_ewma(), endpoints)?;
    let service = resilient(balancer.clone());

    for (title, killed) in [("all are up", None), ("fast is killed", Some(&fast))] {
        killed.into_iter().for_each(Backend::kill);
        let mut requests = JoinSet::new();
        for n in 0..600 {
            let service = service.clone();
            requests.spawn(async move {
                // One request per millisecond.
                sleep(Duration::from_millis(n)).await;
                let request = Request::get(format!("/items/{n}?full"));
                let response = service.oneshot(request.body(Body::default())?).await?;
                // Convert to reqwest's own response, which has methods to read a body.
                let response = reqwest::Response::from(response.map(Body::wrap));
                Ok::<_, BoxError>(response.error_for_status()?.text().await?)
            });
        }
        let mut answers: BTreeMap<String, u32> = BTreeMap::new();
        for answer in requests.join_all().await {
            let answer = answer.unwrap_or_else(|error| {
                error
                    .downcast_ref()
                    .and_then(tower_lb::Error::endpoint)
                    .map_or_else(|| error.to_string(), |endpoint| format!("errors of {endpoint}"))
            });
            *answers.entry(answer).or_default() += 1;
        }
        println!("600 requests, {title}: {answers:?}");
    }
    println!("\n{}", balancer.status());
    Ok(())
}

//! Whole logins at a certified provider, `oidc-provider`, through its own pages, by curl.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tower_lb::auth::oidc::{ClientAuthentication, ClientSecret, CookieKey, OidcLayer, Provider};

use super::edge::{client, serve};

/// The provider as a process, which ends with this value.
struct RealProvider {
    process: Child,
}

impl RealProvider {
    /// Starts the provider for an edge at `edge`; `.ci/install` installs it.
    fn start(port: u16, edge: SocketAddr) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("../../target/oidc-provider");
        if !folder.join("node_modules/oidc-provider").exists() {
            eprintln!("skipped: there is no {}", folder.display());
            return None;
        }
        let mut process = Command::new("node")
            .arg(root.join("auth/provider.mjs"))
            .arg(&folder)
            .arg(port.to_string())
            .arg(format!("http://{edge}/oauth2/idpresponse"))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .inspect_err(|error| eprintln!("skipped: node: {error}"))
            .ok()?;
        let mut lines = BufReader::new(process.stdout.take()?).lines();
        let is_ready = lines.by_ref().map_while(Result::ok).any(|line| line == "ready");
        assert!(is_ready, "the provider did not start");
        // The pipe is read on, so that the provider is not stopped by it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process })
    }

    fn issuer(port: u16) -> String {
        format!("http://127.0.0.1:{port}")
    }
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// curl with a cookie jar, as a browser of which the test sees each page.
struct Curl {
    jar: PathBuf,
}

impl Curl {
    fn new(name: &str) -> Self {
        let jar = std::env::temp_dir().join(format!("tower-lb-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&jar);
        Self { jar }
    }

    /// Follows redirects. Returns status, final URL and page.
    async fn get(&self, url: &str, form: &[(&str, &str)]) -> (u16, String, String) {
        let mut command = tokio::process::Command::new("curl");
        command.args(["-sSL", "--max-time", "20", "-w", "\n%{http_code} %{url_effective}"]);
        command.arg("-b").arg(&self.jar).arg("-c").arg(&self.jar);
        for (name, value) in form {
            command.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let output = command.arg(url).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (page, last) = text.rsplit_once('\n').unwrap();
        let (status, url) = last.split_once(' ').unwrap();
        (status.parse().unwrap(), url.to_owned(), page.to_owned())
    }

    /// Logs in through the pages for login and consent.
    async fn log_in(&self, url: &str, user: &str) -> (u16, String, String) {
        let (status, _, page) = self.get(url, &[]).await;
        assert_eq!(status, 200, "{page}");
        let form = [("prompt", "login"), ("login", user), ("password", "x")];
        let (status, _, page) = self.get(&action(&page), &form).await;
        assert_eq!(status, 200, "{page}");
        self.get(&action(&page), &[("prompt", "consent")]).await
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.jar);
    }
}

/// Returns where the form of a page is sent to.
fn action(page: &str) -> String {
    let (_, rest) = page.split_once("action=\"").unwrap_or_else(|| panic!("no form: {page}"));
    rest.split_once('"').unwrap().0.to_owned()
}

fn layer(port: u16, authentication: ClientAuthentication) -> OidcLayer {
    let provider = Provider::new(RealProvider::issuer(port));
    OidcLayer::builder(provider, "edge", client(), CookieKey::new([3; 32]))
        .client_secret(ClientSecret::new("a secret with / and : in it"))
        .client_authentication(authentication)
        .scope("openid email")
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_user_logs_in_through_the_pages_of_a_real_provider() {
    let port = free_port();
    let edge = serve(layer(port, ClientAuthentication::Basic)).await;
    let Some(provider) = RealProvider::start(port, edge) else { return };
    let curl = Curl::new("login");
    let url = format!("http://{edge}/app?x=1");
    let (status, last, page) = curl.log_in(&url, "alice").await;
    assert_eq!((status, &last), (200, &url), "{page}");
    assert!(page.starts_with("GET /app?x=1\n"), "{page}");
    assert!(page.contains("x-amzn-oidc-identity: alice\n"), "{page}");
    assert!(page.contains("x-amzn-oidc-accesstoken: "), "{page}");
    assert!(page.contains("identity alice 3\n"), "sub, email, email_verified: {page}");

    // The access token lasts two seconds, and is replaced.
    let token = |page: &str| {
        let line = page.lines().find(|line| line.starts_with("x-amzn-oidc-accesstoken"));
        line.unwrap().to_owned()
    };
    let first = token(&page);
    let other = Curl::new("outage");
    let (_, _, page) = other.log_in(&url, "bob").await;
    let token_of_other = token(&page);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let (status, last, page) = curl.get(&url, &[]).await;
    assert_eq!((status, &last), (200, &url), "{page}");
    assert_ne!(token(&page), first, "the token is a new one");

    // Without the provider, a session goes on with its old token.
    drop(provider);
    let (status, _, page) = other.get(&url, &[]).await;
    assert_eq!((status, token(&page)), (200, token_of_other), "{page}");
}

#[tokio::test]
async fn a_secret_of_the_wrong_client_is_refused_by_a_real_provider() {
    let port = free_port();
    let provider = Provider::new(RealProvider::issuer(port));
    let layer = OidcLayer::builder(provider, "edge", client(), CookieKey::new([3; 32]))
        .client_secret(ClientSecret::new("wrong"))
        .build()
        .unwrap();
    let edge = serve(layer).await;
    let Some(_provider) = RealProvider::start(port, edge) else { return };
    let curl = Curl::new("wrong");
    let (status, _, page) = curl.log_in(&format!("http://{edge}/"), "alice").await;
    assert_eq!((status, &*page), (561, "the identity provider answered with an error\n"));
}

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use http::{Request, request::Parts};
use tower_service::Service;

use super::{
    Explanation, RuleWarning, RulesBuilder, RulesFuture, RulesStatus, dispatch::Dispatch,
    table::Table,
};
#[cfg(feature = "oidc")]
use crate::auth::oidc::OriginalTarget;
use crate::{BoxError, ConfigError, escape::Escaped, named::weak_status};

/// Sends each request to the service of the first rule that it matches, in order of priority.
///
/// Clones share the rules and are cheap, so one that is kept aside can [`replace`](Self::replace)
/// them, [`explain`](Self::explain) a request and tell the [`status`](Self::status).
///
/// The service that gets the request finds a [`MatchedRule`](super::MatchedRule) in its extensions.
/// Which service that is depends on the request, so `Rules` is always ready: the request waits for
/// the readiness of its service in the response future.
///
/// Finding the rule takes no lock and does not allocate, unless a tested rule has a regular
/// expression, which may allocate when it first runs in a thread. The extension is one small
/// allocation, and a rewrite takes a few. The event "request matched a rule" is logged at `DEBUG`.
pub struct Rules<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    name: Arc<str>,
    table: ArcSwap<Table<S>>,
    replacements: AtomicU64,
    rejected_replacements: AtomicU64,
}

impl<S> Rules<S> {
    /// Returns rules that send all requests to `default`, to which rules can be added.
    pub fn builder(default: S) -> RulesBuilder<S> {
        RulesBuilder::new(default)
    }

    pub(super) fn from_table(name: Arc<str>, table: Table<S>) -> Self {
        let shared = Shared {
            name,
            table: ArcSwap::from_pointee(table),
            replacements: AtomicU64::new(0),
            rejected_replacements: AtomicU64::new(0),
        };
        shared.log_warnings();
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the rules, at once and for all clones. Requests that have matched a rule go on with
    /// its service. Counts continue for rules that keep their name.
    ///
    /// # Errors
    ///
    /// As [`RulesBuilder::build`]. Then the old rules stay.
    pub fn replace(&self, rules: RulesBuilder<S>) -> Result<(), ConfigError> {
        let Shared { name, table, replacements, rejected_replacements } = &*self.shared;
        match rules.compile(Some(&**table.load())) {
            Ok(new) => {
                let count = new.rules.len();
                table.store(Arc::new(new));
                replacements.fetch_add(1, Relaxed);
                tracing::info!(rules = %Escaped(name), count, "rules replaced");
                self.shared.log_warnings();
                Ok(())
            }
            Err(error) => {
                rejected_replacements.fetch_add(1, Relaxed);
                tracing::error!(
                    rules = %Escaped(name),
                    %error,
                    "new rules rejected, so the old ones stay"
                );
                Err(error)
            }
        }
    }

    /// Builds a separate set of rules. Rules that keep their name continue the counts of this set.
    #[cfg(feature = "alb")]
    pub(crate) fn successor(&self, rules: RulesBuilder<S>) -> Result<Self, ConfigError> {
        let name = Arc::clone(&rules.name);
        let table = rules.compile(Some(&**self.shared.table.load()))?;
        let successor = Self::from_table(name, table);
        let replacements = self.shared.replacements.load(Relaxed) + 1;
        successor.shared.replacements.store(replacements, Relaxed);
        Ok(successor)
    }

    /// Returns the rules that no request can match.
    #[must_use]
    pub fn warnings(&self) -> Vec<RuleWarning> {
        self.shared.table.load().warnings.clone()
    }

    /// Says, rule by rule, why a request with this head matches or not. It counts nothing.
    #[must_use]
    pub fn explain(&self, head: &Parts) -> Explanation {
        self.shared.table.load().explain(head)
    }

    /// Returns how many requests each rule has got.
    #[must_use]
    pub fn status(&self) -> RulesStatus {
        self.shared.status()
    }

    /// Returns a function that reads the status until all clones are dropped.
    pub(crate) fn weak_status(&self) -> impl Fn() -> Option<RulesStatus> + Send + Sync + use<S>
    where
        S: Send + Sync,
    {
        weak_status(&self.shared, Shared::status)
    }
}

impl<S> Shared<S> {
    fn status(&self) -> RulesStatus {
        RulesStatus {
            name: self.name.to_string(),
            replacements: self.replacements.load(Relaxed),
            rejected_replacements: self.rejected_replacements.load(Relaxed),
            rules: self.table.load().status(),
        }
    }

    fn log_warnings(&self) {
        for warning in &self.table.load().warnings {
            tracing::warn!(rules = %Escaped(&self.name), %warning, "a rule can never match");
        }
    }
}

impl<S, B> Service<Request<B>> for Rules<S>
where
    S: Service<Request<B>, Error: Into<BoxError>> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = RulesFuture<S, Request<B>>;

    #[inline]
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let table = self.shared.table.load();
        let rule = table.find(&head);
        rule.matched.fetch_add(1, Relaxed);
        tracing::debug!(
            rules = %Escaped(&self.shared.name),
            rule = %Escaped(rule.identity.name()),
            priority = rule.identity.priority(),
            "request matched a rule"
        );
        if !rule.rewrites.are_none() {
            #[cfg(feature = "oidc")]
            let original = OriginalTarget::of(&head);
            if let Err(error) = rule.rewrites.apply(&mut head) {
                return RulesFuture::failed(error.into());
            }
            // A login leads the browser to the address that the browser knows.
            #[cfg(feature = "oidc")]
            original.keep(&mut head.extensions);
        }
        head.extensions.insert(rule.identity.clone());
        let service = rule.service.clone();
        // The service may take its time in `call`, and need not keep the rules for that.
        drop(table);
        RulesFuture::dispatched(Dispatch::new(service, Request::from_parts(head, body)))
    }
}

impl<S> Clone for Rules<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<S> fmt::Debug for Rules<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("name", &self.shared.name)
            .field("rules", &self.shared.table.load().rules.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use tower::{ServiceExt, service_fn};
    use tower_lb_test_support::logs::Logs;

    use super::*;
    use crate::rules::{Action, Condition, FixedResponse, Forward, Redirect, Rule};

    #[test]
    fn a_status_is_read_until_the_last_clone_is_dropped() {
        let rules = Rules::builder(()).name("public").build().unwrap();
        let (status, clone) = (rules.weak_status(), rules.clone());
        drop(rules);
        assert_eq!(status().unwrap().name, "public");
        drop(clone);
        assert!(status().is_none());
    }

    #[tokio::test]
    async fn the_log_names_the_rule_and_the_action() {
        let service = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(Response::new(())) });
        let fixed = FixedResponse::builder(http::StatusCode::NOT_FOUND).build().unwrap();
        let groups = Forward::builder().group("blue", 1, service).build().unwrap();
        let path = |path: &str| Condition::path([path]);
        let (logs, _collecting) = Logs::collect();
        let rules = Rules::builder(Action::from(fixed))
            .rule(Rule::new(1, groups.into()).name("one").when(path("/1")))
            .rule(Rule::new(2, Redirect::to_https().into()).name("two").when(path("/2")))
            .rule(Rule::new(3, Redirect::to_https().into()).name("thr\nee").when(path("/2")))
            .build()
            .unwrap();
        assert_eq!(
            logs.take(),
            [
                "a rule can never match rules=rules warning=rule 3 (thr\\nee) can never match: rule 2 \
              (two) matches all of its requests"
            ]
        );
        for uri in ["/1", "/2", "/3"] {
            let request = Request::get(uri).header("host", "a.test").body(()).unwrap();
            rules.clone().oneshot(request).await.unwrap();
        }
        assert_eq!(
            logs.take(),
            [
                "request matched a rule rules=rules rule=one priority=1",
                "request forwarded rule=one group=blue",
                "request matched a rule rules=rules rule=two priority=2",
                "request redirected rule=two status=301 location=https://a.test/2",
                "request matched a rule rules=rules rule=default",
                "fixed response rule=default status=404",
            ]
        );
    }
}

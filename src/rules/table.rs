use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use http::request::Parts;

use super::{
    MatchedRule, RuleWarning,
    condition::{RequestView, Silent, Test},
    explanation::{ExplainedRule, Explanation, Recorder, RuleVerdict},
    index::Index,
    rewrite::Rewrites,
    status::RuleStatus,
};

/// The compiled rules of one moment.
pub(super) struct Table<S> {
    /// In order of priority.
    pub(super) rules: Box<[TableRule<S>]>,
    pub(super) default: TableRule<S>,
    pub(super) index: Index,
    pub(super) warnings: Vec<RuleWarning>,
}

pub(super) struct TableRule<S> {
    pub(super) identity: MatchedRule,
    /// All must be met; empty for the default rule.
    pub(super) tests: Box<[Test]>,
    pub(super) rewrites: Rewrites,
    pub(super) service: S,
    /// The rule of the same name in the next table goes on with it.
    pub(super) matched: Arc<AtomicU64>,
}

impl<S> Table<S> {
    /// Returns the rule that gets the request.
    #[inline]
    pub(super) fn find(&self, head: &Parts) -> &TableRule<S> {
        let request = RequestView::new(head);
        let mut candidates = self.index.candidates(&request);
        let found = candidates.find_map(|position| {
            let rule = &self.rules[position];
            let is_met = |test: &Test| test.matches(&request, &mut Silent);
            rule.tests.iter().all(is_met).then_some(rule)
        });
        found.unwrap_or(&self.default)
    }

    /// Tests all rules in order, and says how.
    pub(super) fn explain(&self, head: &Parts) -> Explanation {
        let request = RequestView::new(head);
        let mut matched = None;
        let mut rules = Vec::with_capacity(self.rules.len() + 1);
        for rule in self.rules.iter().chain([&self.default]) {
            let mut recorder = Recorder::default();
            let is_met = rule.tests.iter().all(|test| test.matches(&request, &mut recorder));
            let verdict = match (is_met, &matched) {
                (false, _) => RuleVerdict::NotMatched,
                (true, None) => RuleVerdict::Matched,
                (true, Some(_)) => RuleVerdict::Shadowed,
            };
            if verdict == RuleVerdict::Matched {
                matched = Some(rule);
            }
            rules.push(ExplainedRule {
                name: rule.identity.name().to_owned(),
                priority: rule.identity.priority(),
                verdict,
                conditions: recorder.conditions,
            });
        }
        Explanation::new(matched.unwrap_or(&self.default), head, rules)
    }

    pub(super) fn status(&self) -> Vec<RuleStatus> {
        let rules = self.rules.iter().chain([&self.default]);
        rules
            .map(|rule| RuleStatus {
                name: rule.identity.name().to_owned(),
                priority: rule.identity.priority(),
                matched: rule.matched.load(Relaxed),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use http::{Request, header::HOST};
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;
    use crate::{
        http::ClientConnection,
        rules::{Condition, Pattern, Rule, Rules},
    };

    fn table(rules: impl IntoIterator<Item = (u32, Condition)>) -> Table<()> {
        let rules =
            rules.into_iter().map(|(priority, condition)| Rule::new(priority, ()).when(condition));
        Rules::builder(()).rules(rules).compile(None).unwrap()
    }

    fn head(method: &str, host: &str, uri: &str, header: Option<&str>) -> Parts {
        let request = Request::builder().method(method).uri(uri).header(HOST, host);
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        if let Some(header) = header {
            head.headers.insert("x-a", header.parse().unwrap());
        }
        let peer = ([10, 0, 0, 7], 9).into();
        head.extensions.insert(ClientConnection::new(peer, ([127, 0, 0, 1], 80).into()));
        head
    }

    fn found(table: &Table<()>, head: &Parts) -> String {
        table.find(head).identity.name().to_owned()
    }

    #[test]
    fn the_lowest_priority_number_wins() {
        let table = table([
            (30, Condition::any()),
            (10, Condition::host(["a.example"]).and(Condition::path(["/x/*"]))),
            (20, Condition::host(["*.example"])),
        ]);
        for (host, path, expected) in [
            ("A.example:80", "/x/y", "10"),
            ("a.example", "/X/y", "20"),
            ("b.a.example", "/x/y", "20"),
            ("example", "/x/y", "30"),
        ] {
            assert_eq!(found(&table, &head("GET", host, path, None)), expected, "{host}{path}");
        }
    }

    #[test]
    fn each_kind_of_condition_is_met() {
        let values = |condition: Condition| table([(1, condition)]);
        let met = |condition: Condition, head: &Parts| found(&values(condition), head) == "1";
        let request = head("GET", "a.example", "/p?Key=Va*lue&b&c=1", Some("One, Two"));
        for (condition, expected) in [
            (Condition::method(["POST", "GET"]), true),
            (Condition::method(["get"]), false),
            (Condition::header("X-A", ["one*"]), true),
            (Condition::header("X-A", ["two"]), false),
            (Condition::header("x-b", ["*"]), false),
            (Condition::query(["VA*"]), true),
            (Condition::query([r"va\*l?e"]), true),
            (Condition::query([r"va\*"]), false),
            (Condition::query([("KEY", "*")]), true),
            (Condition::query([("b", "")]), true),
            (Condition::query([("b", "1")]), false),
            (Condition::query([("c", "1"), ("x", "1")]), true),
            (Condition::source(["10.0.0.0/8", "2001:db8::/32"]), true),
            (Condition::source(["10.0.0.8"]), false),
            (Condition::path([Pattern::regex("^/[a-z]$")]), true),
            (Condition::path([Pattern::literal("/?")]), false),
            (Condition::predicate("has x-a", |head| head.headers.contains_key("x-a")), true),
            (!Condition::path(["/p"]), false),
            (Condition::path(["/q"]).or(Condition::method(["GET"])), true),
            (Condition::path(["/p"]).and(Condition::method(["PUT"])), false),
        ] {
            assert_eq!(met(condition.clone(), &request), expected, "{condition}");
        }
        // The HEAD of a resource is another method.
        assert!(!met(Condition::method(["GET"]), &head("HEAD", "a", "/", None)));
        let (mut unknown, mut mapped) = (request.clone(), request);
        unknown.extensions.clear();
        unknown.headers.insert("x-forwarded-for", "10.0.0.1".parse().unwrap());
        assert!(!met(Condition::source(["0.0.0.0/0"]), &unknown));
        let peer = "[::ffff:10.1.2.3]:9".parse().unwrap();
        mapped.extensions.insert(ClientConnection::new(peer, peer));
        assert!(met(Condition::source(["10.0.0.0/8"]), &mapped));
    }

    #[test]
    fn finding_a_rule_does_not_allocate() {
        let mut rules: Vec<_> = (1..100)
            .map(|rule| {
                let host = Condition::host([format!("h{rule}.example"), format!("*.h{rule}.test")]);
                (rule, host.and(Condition::path([format!("/p{rule}/*/x?z"), "/same/*".into()])))
            })
            .collect();
        let others = Condition::header("x-a", ["*b*", "c"])
            .or(Condition::query([("a", "*")]))
            .or(Condition::source(["10.1.0.0/16"]))
            .or(Condition::predicate("never", |_| false));
        rules.push((100, others));
        let table = table(rules);
        for (host, uri, expected) in [
            ("h50.example", "/same/y", "50"),
            ("a.b.H99.test:80", "/p99/a/b/xyz", "99"),
            ("unknown.example", "/same/y?b=1", "default"),
            ("h50.example", "/x?a=1", "100"),
        ] {
            let head = head("GET", host, uri, Some("dab"));
            let mut head = head;
            if expected != "100" {
                head.headers.remove("x-a");
            }
            let mut rule = None;
            let cost = measure(|| rule = Some(table.find(&head)));
            assert_eq!(rule.unwrap().identity.name(), expected);
            assert_eq!(cost.count_total, 0, "{host}{uri}");
        }
    }

    #[test]
    fn hostile_requests_are_read_twice_for_each_value() {
        use crate::rules::condition::steps;

        let rules = (1..=101).map(|rule| (rule, Condition::path(["/*a*a?a*a*ab", "*a*a*a*a*b"])));
        let table = table(rules);
        let path = format!("/{}", "a".repeat(16 << 10));
        let head = head("GET", "h", &path, None);
        steps::take();
        assert_eq!(found(&table, &head), "default");
        let steps = steps::take();
        assert!(steps <= 101 * 2 * 2 * (path.len() + 20), "{steps}");
    }

    #[test]
    fn thousands_of_rules_are_found() {
        let rules = (1..=20_000).map(|rule| (rule, Condition::host([format!("h{rule}.example")])));
        let table = table(rules);
        for rule in [1, 64, 65, 12_345, 20_000] {
            let head = head("GET", &format!("h{rule}.example"), "/", None);
            assert_eq!(found(&table, &head), rule.to_string());
        }
    }

    fn host_pattern() -> impl Strategy<Value = String> {
        select(vec![
            "a.test", "b.test", "*.test", "*", "?.test", "*a.test", "x.a.test", "*.a.*", "",
        ])
        .prop_map(str::to_owned)
    }

    fn path_pattern() -> impl Strategy<Value = String> {
        prop_oneof![
            select(vec!["/", "/*", "/a", "/a/*", "/a/b", "/a/?", "*b", "/a*b", "/a/b*", "*", ""])
                .prop_map(str::to_owned),
            "/[ab/*?]{0,4}",
        ]
    }

    fn condition() -> impl Strategy<Value = Condition> {
        let leaf = prop_oneof![
            4 => vec(host_pattern(), 1..3).prop_map(Condition::host),
            4 => vec(path_pattern(), 1..3).prop_map(Condition::path),
            1 => Just(Condition::path([Pattern::regex("/b$")])),
            1 => Just(Condition::method(["GET"])),
            1 => Just(Condition::header("x-a", ["b*"])),
            1 => Just(Condition::query([("k", "v*")])),
            1 => Just(Condition::any()),
        ];
        leaf.prop_recursive(3, 8, 3, |inner| {
            prop_oneof![
                3 => vec(inner.clone(), 1..3).prop_map(Condition::all_of),
                3 => vec(inner.clone(), 1..3).prop_map(Condition::any_of),
                1 => inner.prop_map(|condition| !condition),
            ]
        })
    }

    fn request() -> impl Strategy<Value = Parts> {
        let host = select(vec!["a.test", "B.test:80", "x.a.test", "a.a.b", "test", "", "a/b"]);
        let query = select(vec!["", "?k=v", "?k=x&k=vv"]);
        let header = select(vec![None, Some("b"), Some("c")]);
        let method = select(vec!["GET", "POST"]);
        (method, host, "/[ab/]{0,4}", query, header).prop_map(
            |(method, host, path, query, header)| {
                head(method, host, &format!("{path}{query}"), header)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

        /// An explanation tests all rules in order, without the index, and requests use the index.
        #[test]
        fn the_index_finds_what_a_scan_finds(
            conditions in vec(condition(), 0..80), requests in vec(request(), 1..5),
        ) {
            let table = table((1..).zip(conditions));
            for head in requests {
                let rule = table.find(&head);
                let explanation = table.explain(&head);
                prop_assert_eq!(rule.identity.name(), &explanation.rule);
                prop_assert_eq!(rule.identity.priority(), explanation.priority);
                let matched = |rule: &&ExplainedRule| rule.verdict == RuleVerdict::Matched;
                let matched: Vec<_> = explanation.rules.iter().filter(matched).collect();
                prop_assert_eq!(matched.len(), 1);
                prop_assert_eq!(&matched[0].name, &explanation.rule);
                for rule in &explanation.rules {
                    let decided = rule.conditions.iter().filter(|one| one.depth == 0);
                    let is_met = decided.clone().all(|one| one.is_met);
                    prop_assert_eq!(is_met, rule.verdict != RuleVerdict::NotMatched);
                }
            }
        }

        /// What is warned of never happens.
        #[test]
        fn no_request_matches_a_rule_with_a_warning(
            conditions in vec(condition(), 0..20), requests in vec(request(), 1..20),
        ) {
            let table = table((1..).zip(conditions));
            for head in requests {
                let rule = table.find(&head).identity.priority();
                prop_assert!(table.warnings.iter().all(|warning| Some(warning.priority) != rule));
            }
        }
    }
}

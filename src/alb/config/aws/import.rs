use super::{
    document::{Documents, Read},
    leftovers::Leftovers,
    listeners,
    resource::Resource,
    rules,
    shapes::LoadBalancer,
    target_groups,
};
use crate::alb::config::{self, Bindings, Config, Problem, Problems};

/// Makes a [`Config`] from the output of `aws elbv2 describe-*`, file by file.
///
/// | command | how it is recognised | which resource it is about |
/// |---|---|---|
/// | `describe-load-balancers` | `LoadBalancers` | the ARNs in it |
/// | `describe-listeners` | `Listeners` | the ARNs in it |
/// | `describe-rules` | `Rules` | the ARNs in it |
/// | `describe-target-groups` | `TargetGroups` | the ARNs in it |
/// | `describe-target-health` | `TargetHealthDescriptions` | see below |
/// | `describe-listener-certificates` | `Certificates` | see below |
/// | `describe-load-balancer-attributes` and others | `Attributes`, and their names | see below |
/// | `describe-tags` | `TagDescriptions` | none; tags have no effect |
///
/// AWS does not print the resource of some outputs. The names of their files tell it: the command
/// without `describe-`, a hyphen, and the name of the load balancer or the target group, the port
/// of the listener, or the last part of its ARN. Examples are `load-balancer-attributes-shop.json`,
/// `listener-attributes-443.json` and `target-health-web.json`. Or the document gets another
/// member, `ResourceArn`. Any other such file is rejected, because it could be that of another
/// resource.
///
/// Rules, listeners and target groups of other load balancers are left out.
#[derive(Default)]
#[must_use]
pub struct Import {
    load_balancer: Option<String>,
    documents: Documents,
    bindings: Bindings,
    problems: Vec<Problem>,
}

/// What is collected while an import is translated.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) leftovers: Leftovers,
}

impl Findings {
    pub(super) fn invalid(
        &mut self,
        path: impl Into<String>,
        value: impl std::fmt::Display,
        expected: impl Into<std::borrow::Cow<'static, str>>,
    ) {
        self.problems.push(Problem::invalid(path, expected).with_value(value));
    }

    /// Reports members that belong to another kind of shape than `kind`. Each is listed with its
    /// kind, and whether it is present.
    pub(super) fn foreign_members(
        &mut self,
        kind: &str,
        members: &[(&str, &str, bool)],
        what: &str,
        path: &str,
    ) {
        for (_, member, _) in members.iter().filter(|(of, _, present)| *present && *of != kind) {
            let expected = format!("no such member in {what} {kind}");
            self.problems.push(Problem::invalid(format!("{path}.{member}"), expected));
        }
    }
}

impl Import {
    /// Creates an import without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Selects a load balancer by its name or ARN. Default: the only one.
    pub fn load_balancer(mut self, name: impl Into<String>) -> Self {
        self.load_balancer = Some(name.into());
        self
    }

    /// Sets what the names stand for. Default: [`Bindings::default`].
    pub fn bindings(mut self, bindings: Bindings) -> Self {
        self.bindings = bindings;
        self
    }

    /// Adds the output of a command, with the name of its file.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.documents.add(name, text, &mut self.problems);
        self
    }

    /// Adds a problem of a file that could not be parsed.
    pub(in crate::alb::config) fn reject(mut self, problem: Problem) -> Self {
        self.problems.push(problem);
        self
    }

    /// Returns the configuration.
    ///
    /// # Errors
    ///
    /// All problems of all files: what is malformed or incomplete, which resource an output is
    /// about, and rules that have no meaning without a part that this library does not know.
    pub fn finish(self) -> Result<Config, Problems> {
        let Self { load_balancer: name, documents, bindings, problems } = self;
        let mut findings = Findings { problems, ..Findings::default() };
        let Some(load_balancer) = select(&documents, name.as_deref(), &mut findings) else {
            return Problems::or(findings.problems, Config::default());
        };
        if documents.has_tags {
            findings.leftovers.ignore("TagDescriptions", "tags have no effect");
        }
        let mut config = Config {
            load_balancer: translate(&documents, load_balancer, &mut findings),
            bindings,
            ..Config::default()
        };
        let arn = load_balancer.shape.load_balancer_arn.as_deref().unwrap_or_default();
        let listeners = listeners::of(&documents, arn, &mut findings);
        config.listeners = rules::add(&documents, listeners, &mut findings);
        config.target_groups = target_groups::of(&documents, arn, &config, &mut findings);
        config.leftovers = findings.leftovers.finish();
        Problems::or(findings.problems, config)
    }
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("load_balancer", &self.load_balancer)
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

/// Returns the load balancer that is imported.
fn select<'a>(
    documents: &'a Documents,
    name: Option<&str>,
    findings: &mut Findings,
) -> Option<&'a Read<LoadBalancer>> {
    let names = |read: &&Read<LoadBalancer>| {
        let LoadBalancer { load_balancer_arn, load_balancer_name, .. } = &read.shape;
        name.is_none_or(|name| {
            [load_balancer_arn, load_balancer_name].into_iter().flatten().any(|own| own == name)
        })
    };
    let found: Vec<_> = documents.load_balancers.iter().filter(names).collect();
    let expected = match (&*found, name) {
        ([one], _) => return Some(one),
        ([], None) => "the output of `aws elbv2 describe-load-balancers`",
        ([], Some(_)) => "the name or the ARN of a load balancer in the files",
        ([_, _, ..], None) => "one load balancer, or the name of one of them",
        ([_, _, ..], Some(_)) => "a load balancer that occurs once",
    };
    let mut problem = Problem::invalid("LoadBalancers", expected);
    if let Some(name) = name {
        problem = problem.with_value(format_args!("{name:?}"));
    } else if !found.is_empty() {
        let names = found.iter().filter_map(|read| read.shape.load_balancer_name.as_deref());
        problem = problem.with_value(names.collect::<Vec<_>>().join(", "));
    }
    findings.problems.push(problem);
    None
}

fn translate(
    documents: &Documents,
    read: &Read<LoadBalancer>,
    findings: &mut Findings,
) -> config::LoadBalancer {
    findings.leftovers.of(read);
    let shape = &read.shape;
    if shape.r#type.as_deref().is_some_and(|kind| kind != "application") {
        let kind = shape.r#type.as_deref().unwrap_or_default();
        findings.invalid(read.at("Type"), kind, "application: an Application Load Balancer");
    }
    let mut zones = Vec::new();
    for zone in shape.availability_zones.iter().flatten().filter_map(|it| it.zone_name.clone()) {
        let zone = config::Zone::new(zone);
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    let mut load_balancer = config::LoadBalancer {
        name: shape.load_balancer_name.clone().unwrap_or_default(),
        arn: shape.load_balancer_arn.clone(),
        scheme: shape.scheme.clone(),
        zones,
        ..config::LoadBalancer::default()
    };
    let resource = |read: &Read<LoadBalancer>| {
        let LoadBalancer { load_balancer_arn, load_balancer_name, .. } = &read.shape;
        Resource::new(load_balancer_arn.as_deref(), load_balancer_name.as_deref())
    };
    let resources: Vec<_> = documents.load_balancers.iter().map(resource).collect();
    // The outputs about other load balancers are left out.
    let mut own = Some(("load_balancer".to_owned(), &mut load_balancer.attributes));
    let places = documents.load_balancers.iter();
    let places = places.map(|other| if std::ptr::eq(other, read) { own.take() } else { None });
    super::attributes::of_load_balancers(documents, &resources, places.collect(), findings);
    load_balancer
}

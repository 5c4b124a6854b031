use super::{
    document::{Documents, Read, Unnamed},
    leftovers::Leftovers,
    listeners, rules,
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
/// AWS does not print the resource of some outputs. If there are several, the name of the file has
/// to contain its name (of a target group or a load balancer), its port (of a listener) or the last
/// part of its ARN, such as `target-health-web.json`. Or the document gets another member,
/// `ResourceArn`.
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
    super::attributes::of_load_balancer(
        documents,
        &[Resource::new(shape.load_balancer_arn.as_deref(), shape.load_balancer_name.as_deref())],
        &mut load_balancer.attributes,
        findings,
    );
    load_balancer
}

/// What an output that does not name its resource may be about.
pub(super) struct Resource {
    arn: String,
    /// The texts by which the name of a file may refer to it.
    tokens: Vec<String>,
}

impl Resource {
    pub(super) fn new(arn: Option<&str>, name: Option<&str>) -> Self {
        let arn = arn.unwrap_or_default().to_owned();
        let id = arn.rsplit('/').next().unwrap_or_default().to_owned();
        let tokens = [Some(id), name.map(str::to_owned)].into_iter().flatten();
        Self { tokens: tokens.filter(|token| !token.is_empty()).collect(), arn }
    }

    /// Returns the length of the longest token in the name of a file, at the bounds of words.
    fn matches(&self, file: &str) -> Option<usize> {
        let is_bound = |char: Option<char>| char.is_none_or(|char| !char.is_ascii_alphanumeric());
        let occurs = |token: &&String| {
            file.match_indices(&***token).any(|(start, _)| {
                let (before, after) = (&file[..start], &file[start + token.len()..]);
                is_bound(before.chars().next_back()) && is_bound(after.chars().next())
            })
        };
        self.tokens.iter().filter(occurs).map(String::len).max()
    }
}

/// Returns the position of the resource that an output is about; `None` if it is about another one
/// or, with a problem, if that is not known.
pub(super) fn resource_of<T>(
    list: &Unnamed<T>,
    resources: &[Resource],
    findings: &mut Findings,
) -> Option<usize> {
    if let Some(arn) = &list.resource {
        return resources.iter().position(|resource| resource.arn == *arn);
    }
    let matches = resources.iter().enumerate();
    let matches = matches.filter_map(|(index, it)| Some((it.matches(&list.file)?, index)));
    let mut matches: Vec<_> = matches.collect();
    matches.sort_unstable();
    match (&*matches, resources) {
        ([], [_]) => Some(0),
        ([.., (second, _), (best, _)], _) if second == best => {
            unknown_resource(list, findings);
            None
        }
        ([.., (_, index)], _) => Some(*index),
        ([], _) => {
            unknown_resource(list, findings);
            None
        }
    }
}

fn unknown_resource<T>(list: &Unnamed<T>, findings: &mut Findings) {
    let expected = "a file name that contains the name of its target group, the port of its \
                    listener or the id of either, or a member `ResourceArn`, because AWS does not \
                    print what the output is about";
    findings.problems.push(Problem::invalid(list.file.clone(), expected));
}

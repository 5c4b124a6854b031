use super::{
    action,
    at::{At, Findings},
    bindings,
    checked::Checked,
    glob::{self, Syntax},
    listener, load_balancer, redirect_loop, resilience, target_group,
};
use crate::alb::config::{Action, Config, LeftoverKind, Problem, ProblemKind, Problems};

/// Which problems of a configuration are accepted, in addition to its own `accept`.
///
/// Only problems of the kinds [`BeyondAlb`](ProblemKind::BeyondAlb) and
/// [`NotSupported`](ProblemKind::NotSupported) can be accepted. A value that this library rejects
/// as well is [`Invalid`](ProblemKind::Invalid).
///
/// ```
/// use tower_lb::alb::config::{Check, Config};
///
/// let config = Config::from_toml(r#"
///     [load_balancer.attributes]
///     access_logs = { bucket = "logs" }
/// "#)?;
/// let problems = config.check().unwrap_err();
/// assert_eq!(problems.iter().next().unwrap().path(), "load_balancer.attributes.access_logs");
///
/// let checked = Check::new().accept("*.access_logs").check(&config)?;
/// assert_eq!(checked.accepted().len(), 1);
/// # Ok::<_, tower_lb::alb::config::Problems>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Check {
    accept: Vec<String>,
}

impl Check {
    /// Creates a check that accepts nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts the problems at a path, in which `*` stands for any text.
    pub fn accept(mut self, path: impl Into<String>) -> Self {
        self.accept.push(path.into());
        self
    }

    /// Accepts all problems that can be accepted.
    pub fn accept_all(self) -> Self {
        self.accept("*")
    }

    /// Checks a configuration.
    ///
    /// # Errors
    ///
    /// All problems that are not accepted.
    pub fn check(&self, config: &Config) -> Result<Checked, Problems> {
        let mut findings = Findings::default();
        find(config, &mut At::root(&mut findings));
        let Findings { problems, notes } = findings;
        let is_accepted = |problem: &Problem| {
            problem.kind() != ProblemKind::Invalid
                && self
                    .accept
                    .iter()
                    .chain(&config.accept)
                    .any(|pattern| glob::matches(pattern, problem.path(), Syntax::Path))
        };
        let (accepted, problems) = problems.into_iter().partition(is_accepted);
        Problems::or(problems, Checked::new(config.clone(), notes, accepted))
    }
}

impl Config {
    /// Checks the configuration. Only what it accepts itself is accepted.
    ///
    /// # Errors
    ///
    /// All problems.
    pub fn check(&self) -> Result<Checked, Problems> {
        Check::new().check(self)
    }
}

/// Finds all problems of a configuration.
fn find(config: &Config, root: &mut At<'_>) {
    load_balancer::check(&config.load_balancer, &mut root.at("load_balancer"));
    resilience::check(&config.resilience, &mut root.at("resilience"));
    listener::check_all(config, &mut root.at("listeners"));
    target_group::check_all(config, &mut root.at("target_groups"));
    bindings::check(config, &mut root.at("bindings"));
    redirect_loop::check(config, &mut root.at("listeners"));
    check_use(config, &mut root.at("target_groups"));
    for leftover in &config.leftovers {
        let mut at = root.at(&leftover.path);
        match leftover.kind {
            LeftoverKind::Ignored => at.note(leftover.why.clone()),
            LeftoverKind::Unsupported => at.unsupported(leftover.why.clone()),
        }
    }
}

/// Notes target groups that no action names.
fn check_use(config: &Config, at: &mut At<'_>) {
    let actions = || config.listeners.iter().flat_map(|listener| listener.actions());
    for group in &config.target_groups {
        let is_used = actions().any(|action| match action {
            Action::Forward(forward) => action::names(forward, group),
            Action::Redirect(_) | Action::FixedResponse(_) => false,
        });
        if !is_used {
            at.at(&group.name).note("no action forwards to this group");
        }
    }
}

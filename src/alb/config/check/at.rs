use std::{borrow::Cow, fmt::Display};

use crate::{
    ConfigError,
    alb::config::{Note, Problem, ProblemKind, Time},
};

/// What a check finds.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
}

/// A place in a configuration, at which a check reports what it finds.
pub(super) struct At<'a> {
    findings: &'a mut Findings,
    path: String,
}

impl<'a> At<'a> {
    /// Returns the place of the whole configuration.
    pub(super) fn root(findings: &'a mut Findings) -> Self {
        Self { findings, path: String::new() }
    }

    /// Returns the place of a field.
    pub(super) fn at(&mut self, field: impl Display) -> At<'_> {
        let dot = if self.path.is_empty() { "" } else { "." };
        At { path: format!("{}{dot}{field}", self.path), findings: self.findings }
    }

    /// Returns the place of an item of a list.
    pub(super) fn item(&mut self, index: usize) -> At<'_> {
        At { path: format!("{}[{index}]", self.path), findings: self.findings }
    }

    fn push(&mut self, problem: Problem) {
        self.findings.problems.push(problem);
    }

    /// Reports what a builder of this library rejects, at the field that it names.
    pub(super) fn built<T>(&mut self, built: Result<T, ConfigError>) {
        if let Err(error) = built {
            self.push(Problem::from_config_error(&self.path, &error));
        }
    }

    /// Reports what a builder of this library rejects, at this place, whatever the builder calls
    /// it. The builder decides whether the value may be shown.
    pub(super) fn built_here<T>(&mut self, built: Result<T, ConfigError>) {
        if let Err(error) = built {
            let problem = Problem::invalid(&*self.path, error.expected().to_owned());
            self.push(match error.value() {
                Some(value) => problem.with_value(format_args!("{value:?}")),
                None => problem,
            });
        }
    }

    /// Returns true if a problem at this place or below it cannot be accepted. Then a builder would
    /// only report it again.
    pub(super) fn is_invalid(&self) -> bool {
        self.findings.problems.iter().any(|problem| {
            let rest = problem.path().strip_prefix(&*self.path);
            let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
            is_below && problem.kind() == ProblemKind::Invalid
        })
    }

    /// Reports a value without a meaning.
    pub(super) fn invalid(&mut self, value: impl Display, expected: impl Into<Cow<'static, str>>) {
        let problem = Problem::new(ProblemKind::Invalid, &*self.path, expected);
        self.push(problem.with_value(value));
    }

    /// Reports a value that is missing, or that must not be shown.
    pub(super) fn missing(&mut self, expected: impl Into<Cow<'static, str>>) {
        self.push(Problem::new(ProblemKind::Invalid, &*self.path, expected));
    }

    /// Reports a value that the ALB would reject.
    pub(super) fn beyond(&mut self, value: impl Display, expected: impl Into<Cow<'static, str>>) {
        let problem = Problem::new(ProblemKind::BeyondAlb, &*self.path, expected);
        self.push(problem.with_value(value));
    }

    /// Reports a setting that this library cannot do.
    pub(super) fn unsupported(&mut self, why: impl Into<Cow<'static, str>>) {
        self.push(Problem::new(ProblemKind::NotSupported, &*self.path, why));
    }

    pub(super) fn note(&mut self, text: impl Into<Cow<'static, str>>) {
        self.findings.notes.push(Note::new(&*self.path, text));
    }

    /// Reports a time that the ALB would reject. 0 has no meaning.
    pub(super) fn time(&mut self, time: Time, least: u64, most: u64) {
        if time.is_zero() {
            self.invalid("0s", "a time above 0");
        } else {
            self.time_or_zero(time, least, most);
        }
    }

    /// Reports a time that the ALB would reject. The caller knows whether 0 is valid.
    pub(super) fn time_or_zero(&mut self, time: Time, least: u64, most: u64) {
        let (first, last) = (Time::from_secs(least), Time::from_secs(most));
        if !(first..=last).contains(&time) {
            self.beyond(time, format!("a time from {first} to {last}"));
        }
    }

    /// Reports a time outside of a range that this library has, too.
    pub(super) fn time_within(&mut self, time: Time, least: u64, most: u64) {
        let (first, last) = (Time::from_secs(least), Time::from_secs(most));
        if !(first..=last).contains(&time) {
            self.invalid(time, format!("a time from {first} to {last}"));
        }
    }

    /// Reports a number outside of a range that this library has, too.
    pub(super) fn number_within(&mut self, number: u64, least: u64, most: u64) {
        if !(least..=most).contains(&number) {
            self.invalid(number, format!("a number from {least} to {most}"));
        }
    }

    /// Reports a number that the ALB would reject.
    pub(super) fn number(&mut self, number: u64, least: u64, most: u64) {
        if !(least..=most).contains(&number) {
            self.beyond(number, format!("a number from {least} to {most}"));
        }
    }

    /// Reports a text that is longer than the ALB accepts.
    pub(super) fn at_most_chars(&mut self, text: &str, most: usize) {
        let length = text.chars().count();
        if length > most {
            self.beyond(format_args!("{length} characters"), format!("at most {most} characters"));
        }
    }
}

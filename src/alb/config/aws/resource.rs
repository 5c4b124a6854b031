use std::path::Path;

use super::{document::Unnamed, import::Findings};
use crate::alb::config::Problem;

/// What an output that does not name its resource may be about.
pub(super) struct Resource {
    arn: String,
    /// The texts by which the name of a file may refer to it.
    names: Vec<String>,
}

impl Resource {
    /// `name` is the name or the port. The last part of the ARN is a name, too.
    pub(super) fn new(arn: Option<&str>, name: Option<&str>) -> Self {
        let arn = arn.unwrap_or_default().to_owned();
        let id = arn.rsplit('/').next().unwrap_or_default();
        let names = name.into_iter().chain([id]).filter(|name| !name.is_empty());
        Self { names: names.map(str::to_owned).collect(), arn }
    }
}

/// Assigns the outputs of one command to the resources that they are about.
///
/// Settings of another resource must not be applied, so that an output is rejected unless exactly
/// one resource is named by it or by its file, and no other output is about the same.
pub(super) struct Assignment<'a> {
    /// The command without `describe-`.
    command: &'static str,
    resources: &'a [Resource],
    /// The file that is about each resource.
    files: Vec<Option<String>>,
}

impl<'a> Assignment<'a> {
    pub(super) fn new(command: &'static str, resources: &'a [Resource]) -> Self {
        Self { command, resources, files: vec![None; resources.len()] }
    }

    /// Returns the position of the resource that an output is about, or reports why it is unknown.
    pub(super) fn resource_of<T>(
        &mut self,
        list: &Unnamed<T>,
        findings: &mut Findings,
    ) -> Option<usize> {
        let file = &list.file;
        let name = self.name_in(file);
        let is_it = |resource: &Resource| match (&list.resource, name) {
            (Some(arn), _) => resource.arn == *arn,
            (None, Some(name)) => resource.names.iter().any(|own| own == name),
            (None, None) => false,
        };
        let positions = (0..self.resources.len()).filter(|&it| is_it(&self.resources[it]));
        let positions: Vec<_> = positions.collect();
        let [position] = positions[..] else {
            let problem = Problem::invalid(file.clone(), self.expected());
            findings.problems.push(match list.resource.as_deref().or(name) {
                Some(named) => problem.with_value(format_args!("about {named:?}")),
                None => problem,
            });
            return None;
        };
        if let Some(other) = &self.files[position] {
            let expected = format!("one output of its command: {other} is about the same resource");
            findings.problems.push(Problem::invalid(file.clone(), expected));
            return None;
        }
        self.files[position] = Some(file.clone());
        Some(position)
    }

    /// Returns whether an output was about the resource at a position.
    pub(super) fn is_assigned(&self, position: usize) -> bool {
        self.files[position].is_some()
    }

    /// Returns the name of the resource in `listener-attributes-443.json`.
    fn name_in<'f>(&self, file: &'f str) -> Option<&'f str> {
        let stem = Path::new(file).file_stem()?.to_str()?;
        let stem = stem.strip_prefix("describe-").unwrap_or(stem);
        stem.strip_prefix(self.command)?.strip_prefix('-')
    }

    fn expected(&self) -> String {
        let names = self.resources.iter().filter_map(|resource| resource.names.first());
        let names: Vec<_> =
            names.take(3).map(|name| format!("{}-{name}.json", self.command)).collect();
        let example = match names.join(", ") {
            names if names.is_empty() => "of a resource in the files".to_owned(),
            names => format!("such as {names}"),
        };
        format!(
            "a file name {example}, with the name, the port or the last part of the ARN of one \
             resource, or a member `ResourceArn` with its ARN, because AWS does not print what the \
             output is about"
        )
    }
}

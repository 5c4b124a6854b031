use super::at::At;
use crate::{
    alb::config::{Rewrite, Transforms},
    rules::{Condition, Rule},
};

/// The longest expression and the longest replacement that the ALB accepts, in characters.
const MAX_CHARS: usize = 1024;

pub(super) fn check(transforms: &Transforms, at: &mut At<'_>) {
    for (field, rewrite) in [("host", &transforms.host), ("url", &transforms.url)] {
        let Some(Rewrite { regex, replace }) = rewrite else { continue };
        let mut at = at.at(field);
        at.at("regex").at_most_chars(regex, MAX_CHARS);
        at.at("replace").at_most_chars(replace, MAX_CHARS);
        let rule = Rule::new(1, ()).when(Condition::any());
        let rule = match field {
            "host" => rule.rewrite_host(regex, replace),
            _ => rule.rewrite_url(regex, replace),
        };
        let checked = rule.check();
        let is_regex = checked.as_ref().is_err_and(|error| error.field().ends_with("regex"));
        at.at(if is_regex { "regex" } else { "replace" }).built_here(checked);
    }
}

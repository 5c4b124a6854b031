use super::{at::At, condition::regex};
use crate::alb::config::{Rewrite, Transforms};

/// The longest expression and the longest replacement that the ALB accepts, in characters.
const MAX_CHARS: usize = 1024;

pub(super) fn check(transforms: &Transforms, at: &mut At<'_>) {
    for (field, rewrite) in [("host", &transforms.host), ("url", &transforms.url)] {
        let Some(Rewrite { regex: expression, replace }) = rewrite else { continue };
        let mut at = at.at(field);
        at.at("regex").at_most_chars(expression, MAX_CHARS);
        let groups = regex(expression, &mut at.at("regex"));
        let mut at = at.at("replace");
        at.at_most_chars(replace, MAX_CHARS);
        at.no_control(replace);
        let Some(groups) = groups else { continue };
        for group in references(replace).filter(|group| *group >= groups) {
            let expected = format!("a group of `regex`, which has {}", groups - 1);
            at.invalid(format_args!("${group}"), expected);
        }
    }
}

/// Returns the numbers of the groups that a replacement names: `$1`.
fn references(replace: &str) -> impl Iterator<Item = usize> + '_ {
    replace.split('$').skip(1).filter_map(|rest| {
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

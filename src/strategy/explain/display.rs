use std::fmt::{self, Display, Formatter, Write as _};

use super::{ExplainedCandidate, ExplainedStep, Explanation, PickOutcome, Standing};
use crate::escape::Escaped;

/// The longest name that is shown whole, in characters. A table would otherwise be as wide as the
/// longest name.
const MAX_NAME_CHARS: usize = 48;
/// The longest decision or reason that is shown whole, in characters.
const MAX_TEXT_CHARS: usize = 300;

/// A text from outside, cut to at most `max` characters. An [`Explanation`] may contain it, as it
/// is escaped when that is displayed.
pub(crate) struct Brief<'a> {
    text: &'a str,
    max: usize,
}

impl<'a> Brief<'a> {
    pub(crate) fn name(text: &'a str) -> Self {
        Self { text, max: MAX_NAME_CHARS }
    }

    fn text(text: &'a str) -> Self {
        Self { text, max: MAX_TEXT_CHARS }
    }
}

impl Display for Brief<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.text.char_indices().nth(self.max) {
            None => f.write_str(self.text),
            Some(_) => {
                let end = self.text.char_indices().nth(self.max - 1).map_or(0, |(at, _)| at);
                write!(f, "{}…", &self.text[..end])
            }
        }
    }
}

/// A score, short enough for a table.
struct Figure(f64);

impl Display for Figure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            // What a strategy replaces an invalid load by.
            value if value == f64::MAX || !value.is_finite() => "invalid".to_owned(),
            // Below any load; strategies use such figures to break ties.
            value if value.abs() < 1e-12 => "0".to_owned(),
            value if !(1e-3..1e6).contains(&value.abs()) => format!("{value:.2e}"),
            value => {
                let text = format!("{value:.3}");
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
        };
        f.pad(&text)
    }
}

impl Explanation {
    /// Returns the explanation as one line, for logs: the steps, the endpoints that were compared,
    /// and how many others there were.
    ///
    /// ```text
    /// b picked; p2c: draws a and b; b has the lower load; compared b 1, a 3; 1 unhealthy, 2 full
    /// ```
    pub fn compact(&self) -> impl Display {
        Compact(self)
    }

    fn write_outcome(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let picked = self.picked.as_deref().map(|name| Escaped(Brief::name(name)));
        match (&picked, self.outcome) {
            (Some(picked), PickOutcome::Picked) => write!(f, "{picked} picked"),
            (Some(picked), PickOutcome::Waits) => write!(f, "the request waits for {picked}"),
            (Some(picked), PickOutcome::Refused) => {
                write!(f, "the request is refused rather than left to wait for {picked}")
            }
            (None, PickOutcome::Refused) => f.write_str("the request is refused"),
            (None, _) => f.write_str("the request waits"),
        }
    }

    fn count(&self, standing: Standing) -> usize {
        let listed = self.candidates.iter().filter(|one| one.standing == standing).count();
        let unlisted = self.unlisted.iter().find(|(other, _)| *other == standing);
        listed + unlisted.map_or(0, |(_, count)| *count)
    }
}

struct Compact<'a>(&'a Explanation);

impl Display for Compact<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.write_outcome(f)?;
        for (number, step) in self.0.steps.iter().enumerate() {
            write!(f, "{}{step}", if number == 0 { "; " } else { " > " })?;
        }
        let compared = self.0.candidates.iter().filter_map(|one| Some((one, one.score?)));
        for (number, (one, score)) in compared.enumerate() {
            let (name, score) = (Escaped(Brief::name(&one.name)), Figure(score));
            write!(f, "{} {name} {score}", if number == 0 { "; compared" } else { "," })?;
        }
        let mut separator = "; ";
        for standing in Standing::ALL.into_iter().filter(|one| *one > Standing::Compared) {
            match self.0.count(standing) {
                0 => {}
                count => {
                    write!(f, "{separator}{count} {standing}")?;
                    separator = ", ";
                }
            }
        }
        Ok(())
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.write_outcome(f)?;
        let plural = if self.endpoints == 1 { "" } else { "s" };
        writeln!(f, ", of {} endpoint{plural}", self.endpoints)?;
        if !self.steps.is_empty() {
            writeln!(f)?;
        }
        for step in &self.steps {
            match step.depth.min(MAX_INDENT) {
                0 => writeln!(f, "{step}")?,
                depth => writeln!(f, "{:indent$}└ {step}", "", indent = 2 * (depth - 1))?,
            }
        }
        if !self.candidates.is_empty() {
            writeln!(f)?;
            Table::of(&self.candidates).fmt(f)?;
        }
        if !self.unlisted.is_empty() {
            let all: usize = self.unlisted.iter().map(|(_, count)| count).sum();
            write!(f, "  and {all} more:")?;
            for (number, (standing, count)) in self.unlisted.iter().enumerate() {
                write!(f, "{} {count} {standing}", if number == 0 { "" } else { "," })?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// The deepest indentation of a step.
const MAX_INDENT: usize = 20;

impl Display for ExplainedStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(Brief::name(&self.name)))?;
        match &*self.decision {
            "" => Ok(()),
            decision => write!(f, ": {}", Escaped(Brief::text(decision))),
        }
    }
}

impl Standing {
    const ALL: [Self; 9] = [
        Self::Picked,
        Self::Compared,
        Self::NotCompared,
        Self::Tried,
        Self::Full,
        Self::Excluded,
        Self::Unhealthy,
        Self::Draining,
        Self::ZeroWeight,
    ];
}

impl Display for Standing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Picked => "picked",
            Self::Compared => "compared",
            Self::NotCompared => "not compared",
            Self::Tried => "tried before",
            Self::Full => "full",
            Self::Excluded => "excluded",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::ZeroWeight => "weight 0",
        })
    }
}

/// Candidates in aligned columns. Columns that say nothing are left out.
struct Table {
    columns: Vec<Column>,
    /// The last column, which needs no alignment.
    standings: Vec<String>,
    picked: Vec<bool>,
}

struct Column {
    title: &'static str,
    right: bool,
    cells: Vec<String>,
}

impl Table {
    fn of(candidates: &[ExplainedCandidate]) -> Self {
        let column = |title, right, cell: &dyn Fn(&ExplainedCandidate) -> String| {
            let cells = candidates.iter().map(cell).collect();
            Column { title, right, cells }
        };
        let differ = |figure: fn(&ExplainedCandidate) -> u32| {
            candidates.iter().any(|one| figure(one) != figure(&candidates[0]))
        };
        let text = |text: &str| Escaped(Brief::name(text)).to_string();
        let mut columns = vec![column("endpoint", false, &|one| text(&one.name))];
        if candidates.iter().any(|one| one.zone.is_some()) {
            columns.push(column("zone", false, &|one| text(one.zone.as_deref().unwrap_or("-"))));
        }
        if differ(|one| one.tier) {
            columns.push(column("tier", true, &|one| one.tier.to_string()));
        }
        if differ(|one| one.weight) {
            columns.push(column("weight", true, &|one| one.weight.to_string()));
        }
        columns.push(column("in flight", true, &|one| one.outstanding.to_string()));
        if candidates.iter().any(|one| one.score.is_some()) {
            let score = |score| Figure(score).to_string();
            let cell = |one: &ExplainedCandidate| one.score.map_or_else(String::new, score);
            columns.push(column("score", true, &cell));
        }
        let standing = |one: &ExplainedCandidate| match &one.reason {
            None => one.standing.to_string(),
            Some(reason) => format!("{}: {}", one.standing, Escaped(Brief::text(reason))),
        };
        Self {
            columns,
            standings: candidates.iter().map(standing).collect(),
            picked: candidates.iter().map(|one| one.standing == Standing::Picked).collect(),
        }
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let cells = |column: &Column, row: Option<usize>| {
            let width = column.cells.iter().map(|cell| cell.chars().count()).max();
            let width = width.unwrap_or_default().max(column.title.len());
            let cell = row.map_or(column.title, |row| &column.cells[row]);
            if column.right { format!("{cell:>width$}  ") } else { format!("{cell:width$}  ") }
        };
        let rows = std::iter::once(None).chain((0..self.standings.len()).map(Some));
        for row in rows {
            let mut line = String::new();
            line.push_str(if row.is_some_and(|row| self.picked[row]) { "→ " } else { "  " });
            for column in &self.columns {
                line.push_str(&cells(column, row));
            }
            let standing = row.map_or("standing", |row| &self.standings[row]);
            write!(line, "{standing}")?;
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

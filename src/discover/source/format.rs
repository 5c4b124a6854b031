use serde::de::DeserializeOwned;

/// The format of a document, such as one with a list of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// YAML 1.2.
    #[cfg(feature = "yaml")]
    Yaml,
}

/// What a parser reports about a malformed document.
pub(crate) struct Malformed {
    /// The line and the column, both from 1.
    pub(crate) position: Option<(usize, usize)>,
    /// The reason without the position. It may quote a value of the document.
    pub(crate) message: String,
}

impl Format {
    /// Returns the format of a file name extension: `json`, `toml`, `yaml` or `yml`.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            #[cfg(feature = "yaml")]
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// Parses a document. A byte-order mark at its beginning is ignored.
    pub(crate) fn parse<T: DeserializeOwned>(self, text: &str) -> Result<T, Malformed> {
        // JSON forbids it, and editors write it nevertheless.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match self {
            Self::Json => serde_json::from_str(text).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                let message = error.to_string();
                // serde_json repeats the position at the end of its message.
                let end = format!(" at line {line} column {column}");
                let message = message.strip_suffix(&end).unwrap_or(&message).to_owned();
                Malformed { position: (line > 0).then_some((line, column)), message }
            }),
            Self::Toml => toml::from_str(text).map_err(|error| Malformed {
                position: error.span().map(|span| position(text, span.start)),
                message: error.message().to_owned(),
            }),
            #[cfg(feature = "yaml")]
            Self::Yaml => {
                // The parser's limits guard against documents that expand to much more than their
                // text. They grow with the text here, so that a long list is accepted.
                let (nodes, events) = (text.len().max(250_000), text.len().max(1_000_000));
                let options = serde_saphyr::options! {
                    budget: serde_saphyr::budget! { max_nodes: nodes, max_events: events },
                    with_snippet: false,
                };
                serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                    let position =
                        error.location().map(|at| (at.line() as usize, at.column() as usize));
                    let message = error.to_string();
                    // The parser repeats the position at the end of its message.
                    let end =
                        position.map(|(line, column)| format!(" at line {line}, column {column}"));
                    let stripped = end.and_then(|end| message.strip_suffix(&end));
                    Malformed { position, message: stripped.unwrap_or(&message).to_owned() }
                })
            }
        }
    }
}

/// Returns the line and the column, both from 1, of a byte.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

use crate::ConfigError;

/// A text with keywords such as `#{host}`, parsed once. What is put in is never read again, so it
/// cannot bring in keywords of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Box<[Part]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Keyword(Keyword),
}

/// A component of the URL of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Protocol,
    Host,
    Port,
    /// Without the leading `/`.
    Path,
    /// Without the `?`.
    Query,
}

impl Keyword {
    const ALL: [Self; 5] = [Self::Protocol, Self::Host, Self::Port, Self::Path, Self::Query];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Protocol => "#{protocol}",
            Self::Host => "#{host}",
            Self::Port => "#{port}",
            Self::Path => "#{path}",
            Self::Query => "#{query}",
        }
    }
}

impl Template {
    /// Parses a template of the component `field`, in which `allowed` keywords may occur, and
    /// otherwise the bytes of `is_allowed`.
    pub(super) fn parse(
        field: &'static str,
        text: &str,
        allowed: &[Keyword],
        is_allowed: impl Fn(u8) -> bool,
    ) -> Result<Self, ConfigError> {
        let mut parts = Vec::new();
        let mut rest = text;
        loop {
            let (plain, behind) = rest.split_at(rest.find("#{").unwrap_or(rest.len()));
            if !plain.bytes().all(&is_allowed) {
                let expected = "characters that this part of a URL may have";
                return Err(ConfigError::new(field, expected).with_value(text));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
            if behind.is_empty() {
                return Ok(Self { parts: parts.into() });
            }
            let keyword = Keyword::ALL
                .into_iter()
                .find(|one| behind.starts_with(one.text()) && allowed.contains(one));
            let Some(keyword) = keyword else {
                let names: Vec<_> = allowed.iter().map(|one| one.text()).collect();
                let expected = format!("no other keywords than {}", names.join(", "));
                return Err(ConfigError::new(field, expected).with_value(text));
            };
            parts.push(Part::Keyword(keyword));
            rest = &behind[keyword.text().len()..];
        }
    }

    /// Returns the template of keywords alone.
    pub(super) fn of(keywords: &[Keyword]) -> Self {
        Self { parts: keywords.iter().copied().map(Part::Keyword).collect() }
    }

    /// Returns the template `/#{path}`.
    pub(super) fn same_path() -> Self {
        Self { parts: [Part::Text("/".to_owned()), Part::Keyword(Keyword::Path)].into() }
    }

    /// Appends the text, with what `value` returns for each keyword.
    pub(super) fn write<'v>(&self, to: &mut String, value: impl Fn(Keyword) -> &'v str) {
        for part in &self.parts {
            to.push_str(match part {
                Part::Text(text) => text,
                Part::Keyword(keyword) => value(*keyword),
            });
        }
    }

    /// Returns the text if there is no keyword in it.
    pub(super) fn plain(&self) -> Option<&str> {
        match &*self.parts {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Template, ConfigError> {
        let allowed = [Keyword::Host, Keyword::Path];
        Template::parse("path", text, &allowed, |byte| byte.is_ascii_graphic() && byte != b'#')
    }

    fn written(text: &str, host: &str) -> String {
        let mut to = String::new();
        parse(text).unwrap().write(&mut to, |keyword| match keyword {
            Keyword::Host => host,
            _ => "p",
        });
        to
    }

    #[test]
    fn keywords_are_put_in_once() {
        assert_eq!(written("/#{host}/#{path}#{host}", "a"), "/a/pa");
        assert_eq!(written("/#{host}", "#{path}"), "/#{path}");
        assert_eq!(parse("/a").unwrap().plain(), Some("/a"));
        assert_eq!(parse("").unwrap().plain(), Some(""));
        assert_eq!(parse("#{path}").unwrap().plain(), None);
    }

    #[test]
    fn other_keywords_are_refused() {
        for text in ["#{query}", "#{host", "#{Host}", "#{ host}", "#{}", "a#b", "a b", "#{host}\n"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse("/#{nonsense}").unwrap_err().to_string();
        assert_eq!(
            error,
            "`path` is /#{nonsense}: expected no other keywords than #{host}, #{path}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in ".{0,20}", pieces in "[#{}hostpa/]{0,20}") {
            let _ = (parse(&text), parse(&pieces));
        }
    }
}

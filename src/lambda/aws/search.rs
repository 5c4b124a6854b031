use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use aws_sdk_lambda::{
    Client, error::ProvideErrorMetadata, operation::list_tags::ListTagsError,
    types::FunctionConfiguration,
};
use tokio::{sync::Mutex, time::Instant};

use super::{
    error::invoke_error,
    locality,
    pace::{self, Pace},
};
use crate::{
    BoxError, ConfigError,
    discover::{Fetched, Refresh, Schedule, refresh},
    endpoint::Endpoint,
    escape::Escaped,
    lambda::{FunctionName, Qualifier},
};

/// The most pages of a list of functions, of 50 functions each.
const MAX_PAGES: usize = 2000;

/// The functions of a region whose names begin as told and that have the tags told, as endpoints.
///
/// | Lambda | here |
/// |---|---|
/// | the function's ARN, with the qualifier if one is set | key and target |
/// | memory and architecture | metadata, [`MEMORY`](Self::MEMORY) and [`ARCHITECTURE`](Self::ARCHITECTURE) |
/// | tags, if any are asked for | metadata |
///
/// Functions are listed every minute. Tags have to be asked for function by function: of those whose
/// names fit only, and again after 5 min. Five requests a second are sent at the most, of the
/// 15 that the control plane takes from all of an account together; the first answer for 100
/// functions with tags takes 20 s. While the control plane fails, no endpoint changes. A function whose
/// tags may not be read has those that were read last; without any it does not fit, which is told by a
/// `tracing` event. If that is so for all whose names fit it is a failure, and so are more than 100 000
/// functions. If no function fits there is no endpoint; put
/// [`keep_last_good`](crate::discover::DiscoverExt::keep_last_good) behind it if that must be a
/// mistake.
///
/// ```no_run
/// use tower_lb::{discover::DiscoverExt, lambda::{Function, aws::{FunctionSearch, Sdk}}};
///
/// # fn f(client: aws_sdk_lambda::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let workers = FunctionSearch::new(client.clone())
///     .prefix("worker-")
///     .tag("stage", "live")
///     .endpoints()?
///     .connect(Function::connector(Sdk::new(client)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FunctionSearch {
    client: Client,
    prefix: String,
    tags: Vec<(String, String)>,
    qualifier: Option<Qualifier>,
    tags_every: Duration,
    rate: u32,
    schedule: Schedule,
}

impl FunctionSearch {
    /// The label of a function's memory, in MB.
    pub const MEMORY: &str = "lambda:memory";
    /// The label of a function's architecture, `arm64` or `x86_64`.
    pub const ARCHITECTURE: &str = "lambda:architecture";

    /// All functions that this client sees in its region and account.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            prefix: String::new(),
            tags: Vec::new(),
            qualifier: None,
            tags_every: Duration::from_secs(300),
            rate: pace::USUAL,
            schedule: super::every_minute(),
        }
    }

    /// Only functions whose names begin like this. Default: any.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Only functions that have this tag, and those of other calls. Default: any.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((name.into(), value.into()));
        self
    }

    /// The alias or version of them that is invoked, which all must have. Default none: `$LATEST`.
    #[must_use]
    pub fn qualifier(mut self, qualifier: Qualifier) -> Self {
        self.qualifier = Some(qualifier);
        self
    }

    /// For how long a function's tags are believed. Default 5 min.
    #[must_use]
    pub fn tags_every(mut self, time: Duration) -> Self {
        self.tags_every = time;
        self
    }

    /// How many requests are sent in a second, at the most. Default 5; 0 counts as 1.
    #[must_use]
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = per_second;
        self
    }

    /// When functions are listed. Default [`Schedule::new`] with an interval of 60 s, and no timeout
    /// for the whole: that is the client's.
    #[must_use]
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// The functions, followed as they come and go: a source for discovery.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the schedule is invalid.
    pub fn endpoints(self) -> Result<Refresh<FunctionName, FunctionName>, ConfigError> {
        let name = format!("functions {}*", self.prefix);
        let known = Known { pace: Pace::new(self.rate), tags: HashMap::new() };
        let schedule = self.schedule.clone();
        let shared = Arc::new((self, Mutex::new(known)));
        refresh(name, schedule, move || {
            let shared = Arc::clone(&shared);
            async move {
                let (search, known) = &*shared;
                search.fetch(&mut *known.lock().await).await
            }
        })
    }

    async fn fetch(
        &self,
        known: &mut Known,
    ) -> Result<Fetched<FunctionName, FunctionName>, BoxError> {
        let mut functions = self.list(&mut known.pace).await?;
        // They come in any order, another time in another, and in two pages if one is moved on.
        functions.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        functions.dedup_by(|(one, _), (other, _)| one == other);
        if !self.tags.is_empty() {
            known.ask_for_tags(self, &functions).await?;
            let fits = |(arn, _): &(String, _)| {
                let tags = known.tags_of(arn);
                self.tags
                    .iter()
                    .all(|(name, value)| tags.and_then(|tags| tags.get(name)) == Some(value))
            };
            functions.retain(fits);
        }
        let endpoints = functions.iter().filter_map(|(arn, function)| {
            let tags = known.tags_of(arn);
            self.endpoint(arn, function, tags.into_iter().flatten())
        });
        Ok(Fetched::new(endpoints))
    }

    /// The functions whose names fit, by their ARNs.
    async fn list(
        &self,
        pace: &mut Pace,
    ) -> Result<Vec<(String, FunctionConfiguration)>, BoxError> {
        let (mut found, mut marker, mut seen) = (Vec::new(), None, HashSet::new());
        for _ in 0..MAX_PAGES {
            pace.turn().await;
            let page = self.client.list_functions().set_marker(marker).send().await;
            let page = page.map_err(invoke_error)?;
            for function in page.functions.into_iter().flatten() {
                let fits =
                    function.function_name().is_some_and(|name| name.starts_with(&self.prefix));
                if let (true, Some(arn)) = (fits, function.function_arn()) {
                    found.push((arn.to_owned(), function));
                }
            }
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            match &marker {
                None => return Ok(found),
                Some(marker) if !seen.insert(marker.clone()) => {
                    return Err("the list of functions has no end: a marker came again".into());
                }
                Some(_) => {}
            }
        }
        Err(format!("the list of functions has more than {MAX_PAGES} pages").into())
    }

    fn endpoint<'a>(
        &self,
        arn: &str,
        function: &FunctionConfiguration,
        tags: impl Iterator<Item = (&'a String, &'a String)>,
    ) -> Option<(FunctionName, Endpoint<FunctionName>)> {
        let mut name: FunctionName = match arn.parse() {
            Ok(name) => name,
            Err(error) => {
                tracing::warn!(error = %Escaped(error), "a function that is listed is left out");
                return None;
            }
        };
        if let Some(qualifier) = &self.qualifier {
            name = name.with_qualifier(qualifier.clone());
        }
        let labels = tags.map(|(name, value)| (name.clone(), value.clone()));
        let memory = function.memory_size().map(|mb| (Self::MEMORY.to_owned(), mb.to_string()));
        let architecture = function.architectures().first();
        let architecture = architecture
            .map(|architecture| (Self::ARCHITECTURE.to_owned(), architecture.as_str().to_owned()));
        let labels = labels.chain(memory).chain(architecture).collect();
        let endpoint = Endpoint::new(name.clone()).with_all_metadata(labels);
        Some((name, locality(endpoint, &self.client)))
    }
}

/// What is kept from one time to the next, and when the next time fails.
#[derive(Debug)]
struct Known {
    pace: Pace,
    /// By ARN.
    tags: HashMap<String, Tags>,
}

#[derive(Debug)]
struct Tags {
    /// `None` if they may not be read.
    tags: Option<HashMap<String, String>>,
    asked: Instant,
}

impl Known {
    fn tags_of(&self, arn: &str) -> Option<&HashMap<String, String>> {
        self.tags.get(arn)?.tags.as_ref()
    }

    /// Asks for the tags of functions whose tags are not known, or not any more.
    async fn ask_for_tags(
        &mut self,
        search: &FunctionSearch,
        functions: &[(String, FunctionConfiguration)],
    ) -> Result<(), BoxError> {
        let listed: HashSet<_> = functions.iter().map(|(arn, _)| arn).collect();
        self.tags.retain(|arn, _| listed.contains(arn));
        for (arn, _) in functions {
            let known = self.tags.get(arn);
            if known.is_some_and(|known| known.asked.elapsed() < search.tags_every) {
                continue;
            }
            self.pace.turn().await;
            match search.client.list_tags().resource(arn).send().await {
                Ok(answer) => {
                    let tags = Some(answer.tags.unwrap_or_default());
                    self.tags.insert(arn.clone(), Tags { tags, asked: Instant::now() });
                }
                Err(error) => match error.as_service_error() {
                    // It has been deleted since it was listed.
                    Some(gone) if gone.is_resource_not_found_exception() => {
                        self.tags.remove(arn);
                    }
                    Some(error) if is_about_one_function(error) => {
                        tracing::warn!(arn = %Escaped(arn), error = %Escaped(error), "a function's tags may not be read");
                        let tags = self.tags.remove(arn).and_then(|known| known.tags);
                        self.tags.insert(arn.clone(), Tags { tags, asked: Instant::now() });
                    }
                    _ => return Err(invoke_error(error).into()),
                },
            }
        }
        let denied = |known: &Tags| known.tags.is_none();
        match !functions.is_empty()
            && functions.iter().all(|(arn, _)| self.tags.get(arn).is_some_and(denied))
        {
            true => Err("lambda:ListTags is denied for all functions whose names fit".into()),
            false => Ok(()),
        }
    }
}

/// Not about the control plane, or the credentials that all are asked with.
fn is_about_one_function(error: &ListTagsError) -> bool {
    error.is_invalid_parameter_value_exception() || error.code() == Some("AccessDeniedException")
}

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
    control_plane::{self, Pace, locality},
    error::invoke_error,
};
use crate::{
    BoxError, ConfigError,
    discover::{Fetched, Refresh, Schedule, refresh},
    endpoint::Endpoint,
    escape::Escaped,
    lambda::{FunctionName, Qualifier},
};

/// The most pages of a function list; a page has 50 functions.
const MAX_PAGES: usize = 2000;

/// A source of the functions of a region, selected by the prefix of their names and by tags.
///
/// | Lambda | endpoint |
/// |---|---|
/// | the function's ARN, with the qualifier if one is set | key and target |
/// | memory and architecture | metadata, [`Self::MEMORY`] and [`Self::ARCHITECTURE`] |
/// | tags, if any are required | metadata |
///
/// Functions are listed every minute. Tags have to be fetched for each function: only for those
/// whose names match, and again after 5 min. At most five requests a second are sent, of the 15
/// that the control plane accepts from one account in total. The first result for 100 functions
/// with tags takes 20 s.
///
/// While the control plane fails, no endpoint changes. If access to a function's tags is denied,
/// its last known tags count and a warning is logged; without known tags the function does not
/// match. The fetch fails if access is denied for all functions whose names match, or if there are
/// more than 100 000 functions. If no function matches there is no endpoint; add
/// [`keep_last_good`](crate::discover::DiscoverExt::keep_last_good) if an empty result must be a
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
#[must_use]
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
    /// The metadata key of a function's memory, in MB.
    pub const MEMORY: &str = "lambda:memory";
    /// The metadata key of a function's architecture, `arm64` or `x86_64`.
    pub const ARCHITECTURE: &str = "lambda:architecture";

    /// Creates a source of all functions in the region and account of `client`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            prefix: String::new(),
            tags: Vec::new(),
            qualifier: None,
            tags_every: Duration::from_secs(300),
            rate: control_plane::DEFAULT_RATE,
            schedule: control_plane::every_minute(),
        }
    }

    /// Selects only functions whose names begin with `prefix`. Default: all.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Selects only functions with this tag, in addition to the tags of other calls. Default: all.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((name.into(), value.into()));
        self
    }

    /// Sets the alias or version to invoke, which every function must have. Default none:
    /// `$LATEST`.
    pub fn qualifier(mut self, qualifier: Qualifier) -> Self {
        self.qualifier = Some(qualifier);
        self
    }

    /// Sets how long a function's tags are cached. Default 5 min.
    pub fn tags_every(mut self, time: Duration) -> Self {
        self.tags_every = time;
        self
    }

    /// Sets how many requests are sent per second, at most. Default 5.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if the rate is 0.
    pub fn rate(mut self, per_second: u32) -> Result<Self, ConfigError> {
        ConfigError::if_zero("rate", per_second.into())?;
        self.rate = per_second;
        Ok(self)
    }

    /// Sets when functions are listed. Default [`Schedule::new`] with an interval of 60 s and
    /// without a timeout for the whole; the client's timeout bounds each request.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Returns the source of endpoints, which follows changes.
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
        // The order differs between lists, and a function that moves to another page is listed
        // twice.
        functions.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        functions.dedup_by(|(one, _), (other, _)| one == other);
        if !self.tags.is_empty() {
            known.fetch_tags(self, &functions).await?;
            let matches = |(arn, _): &(String, _)| {
                let tags = known.tags_of(arn);
                self.tags
                    .iter()
                    .all(|(name, value)| tags.and_then(|tags| tags.get(name)) == Some(value))
            };
            functions.retain(matches);
        }
        let endpoints = functions.iter().filter_map(|(arn, function)| {
            let tags = known.tags_of(arn);
            self.endpoint(arn, function, tags.into_iter().flatten())
        });
        Ok(Fetched::new(endpoints))
    }

    /// Lists the functions whose names match, with their ARNs.
    async fn list(
        &self,
        pace: &mut Pace,
    ) -> Result<Vec<(String, FunctionConfiguration)>, BoxError> {
        let (mut found, mut marker, mut seen) = (Vec::new(), None, HashSet::new());
        for _ in 0..MAX_PAGES {
            pace.wait_turn().await;
            let page = self.client.list_functions().set_marker(marker).send().await;
            let page = page.map_err(invoke_error)?;
            for function in page.functions.into_iter().flatten() {
                let matches =
                    function.function_name().is_some_and(|name| name.starts_with(&self.prefix));
                if let (true, Some(arn)) = (matches, function.function_arn()) {
                    found.push((arn.to_owned(), function));
                }
            }
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            match &marker {
                None => return Ok(found),
                // A repeated marker would page in a circle.
                Some(marker) if !seen.insert(marker.clone()) => {
                    return Err("the list of functions does not end: a marker was repeated".into());
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
                tracing::warn!(error = %Escaped(error), "left out a function with an invalid ARN");
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

/// The state that is kept between fetches, also when one fails.
#[derive(Debug)]
struct Known {
    pace: Pace,
    /// By ARN.
    tags: HashMap<String, Tags>,
}

#[derive(Debug)]
struct Tags {
    /// `None` if access is denied.
    tags: Option<HashMap<String, String>>,
    fetched: Instant,
}

impl Known {
    fn tags_of(&self, arn: &str) -> Option<&HashMap<String, String>> {
        self.tags.get(arn)?.tags.as_ref()
    }

    /// Fetches the tags of functions whose tags are not cached, or too old.
    async fn fetch_tags(
        &mut self,
        search: &FunctionSearch,
        functions: &[(String, FunctionConfiguration)],
    ) -> Result<(), BoxError> {
        let listed: HashSet<_> = functions.iter().map(|(arn, _)| arn).collect();
        self.tags.retain(|arn, _| listed.contains(arn));
        for (arn, _) in functions {
            let known = self.tags.get(arn);
            if known.is_some_and(|known| known.fetched.elapsed() < search.tags_every) {
                continue;
            }
            self.pace.wait_turn().await;
            match search.client.list_tags().resource(arn).send().await {
                Ok(output) => {
                    let tags = Some(output.tags.unwrap_or_default());
                    self.tags.insert(arn.clone(), Tags { tags, fetched: Instant::now() });
                }
                Err(error) => match error.as_service_error() {
                    // The function has been deleted since it was listed.
                    Some(gone) if gone.is_resource_not_found_exception() => {
                        self.tags.remove(arn);
                    }
                    Some(error) if is_about_one_function(error) => {
                        tracing::warn!(
                            arn = %Escaped(arn),
                            error = %Escaped(error),
                            "access to a function's tags is denied"
                        );
                        // The time of the attempt: a denial is cached like tags.
                        let tags = self.tags.remove(arn).and_then(|known| known.tags);
                        self.tags.insert(arn.clone(), Tags { tags, fetched: Instant::now() });
                    }
                    _ => return Err(invoke_error(error).into()),
                },
            }
        }
        let denied = |known: &Tags| known.tags.is_none();
        match !functions.is_empty()
            && functions.iter().all(|(arn, _)| self.tags.get(arn).is_some_and(denied))
        {
            true => Err("lambda:ListTags is denied for all functions whose names match".into()),
            false => Ok(()),
        }
    }
}

/// Returns true for an error of one function, not of the control plane or of the credentials.
fn is_about_one_function(error: &ListTagsError) -> bool {
    error.is_invalid_parameter_value_exception() || error.code() == Some("AccessDeniedException")
}

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::shapes::{
    Attribute, Certificate, Listener, LoadBalancer, Rule, TargetGroup, TargetHealthDescription,
};
use crate::{
    alb::config::{
        Problem,
        file::{parse, without_value},
    },
    discover::Format,
};

/// A shape, the JSON that it was read from, and where that is.
pub(super) struct Read<T> {
    pub(super) file: String,
    /// The place without the file, such as `Listeners[0]`.
    pub(super) place: String,
    pub(super) value: Value,
    pub(super) shape: T,
}

impl<T> Read<T> {
    /// Returns the place for a problem: `listeners.json: Listeners[0].Port`.
    pub(super) fn at(&self, member: &str) -> String {
        let dot = if member.is_empty() { "" } else { "." };
        format!("{}: {}{dot}{member}", self.file, self.place)
    }
}

/// A list that does not name its resource: attributes, targets, certificates.
pub(super) struct Unnamed<T> {
    pub(super) file: String,
    /// The ARN of the resource, if the document names it.
    pub(super) resource: Option<String>,
    pub(super) items: Vec<Read<T>>,
}

/// All documents, by what they contain.
#[derive(Default)]
pub(super) struct Documents {
    pub(super) load_balancers: Vec<Read<LoadBalancer>>,
    pub(super) listeners: Vec<Read<Listener>>,
    pub(super) rules: Vec<Unnamed<Rule>>,
    pub(super) target_groups: Vec<Read<TargetGroup>>,
    pub(super) health: Vec<Unnamed<TargetHealthDescription>>,
    pub(super) certificates: Vec<Unnamed<Certificate>>,
    pub(super) attributes: Vec<Unnamed<Attribute>>,
    pub(super) has_tags: bool,
}

/// The keys that name the resource of a document. AWS prints none of them; programs that export a
/// configuration may add one.
const RESOURCE_KEYS: [&str; 4] =
    ["ResourceArn", "LoadBalancerArn", "ListenerArn", "TargetGroupArn"];
/// The keys that say that the output is not all of it.
const PAGE_KEYS: [&str; 2] = ["NextMarker", "NextToken"];
/// What libraries add to the output.
const METADATA_KEY: &str = "ResponseMetadata";

impl Documents {
    /// Adds a file.
    pub(super) fn add(&mut self, file: &str, text: &str, problems: &mut Vec<Problem>) {
        let mut object = match parse(file, text, Format::Json) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return problems.push(unknown(file)),
            Err(problem) => return problems.push(problem),
        };
        for key in PAGE_KEYS {
            if object.remove(key).is_some_and(|marker| !marker.is_null()) {
                let expected = "the last page: join all pages into one file, or use the command \
                                line without `--max-items` and `--no-paginate`";
                problems.push(Problem::invalid(format!("{file}: {key}"), expected));
            }
        }
        object.remove(METADATA_KEY);
        let mut resource = None;
        for key in RESOURCE_KEYS {
            match object.remove(key) {
                None => {}
                Some(Value::String(arn)) if resource.as_ref().is_none_or(|other| *other == arn) => {
                    resource = Some(arn);
                }
                Some(_) => {
                    let expected = "the ARN of the resource that the output is about";
                    problems.push(Problem::invalid(format!("{file}: {key}"), expected));
                }
            }
        }
        let mut reader = Reader { file, object, problems };
        let mut is_known = false;
        if let Some(items) = reader.list("LoadBalancers") {
            self.load_balancers.extend(items);
            is_known = true;
        }
        if let Some(items) = reader.list("Listeners") {
            self.listeners.extend(items);
            is_known = true;
        }
        if let Some(items) = reader.list("TargetGroups") {
            self.target_groups.extend(items);
            is_known = true;
        }
        is_known |= reader.unnamed("Rules", &resource, &mut self.rules);
        is_known |= reader.unnamed("TargetHealthDescriptions", &resource, &mut self.health);
        is_known |= reader.unnamed("Certificates", &resource, &mut self.certificates);
        is_known |= reader.unnamed("Attributes", &resource, &mut self.attributes);
        if reader.object.remove("TagDescriptions").is_some() {
            (self.has_tags, is_known) = (true, true);
        }
        if !is_known {
            return problems.push(unknown(file));
        }
        for key in reader.object.keys() {
            let expected = "the output of one `aws elbv2 describe-*` command";
            reader.problems.push(Problem::invalid(format!("{file}: {key}"), expected));
        }
    }
}

fn unknown(file: &str) -> Problem {
    let expected = "the output of an `aws elbv2 describe-*` command: an object with a list such as \
                    `Listeners`";
    Problem::invalid(file, expected)
}

struct Reader<'a> {
    file: &'a str,
    object: Map<String, Value>,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    /// Takes a list. An item that is malformed is a problem and left out.
    fn list<T: DeserializeOwned + Serialize>(&mut self, key: &str) -> Option<Vec<Read<T>>> {
        let Value::Array(items) = self.object.remove(key)? else {
            self.problems.push(Problem::invalid(format!("{}: {key}", self.file), "a list"));
            return Some(Vec::new());
        };
        let mut reads = Vec::with_capacity(items.len());
        for (index, value) in items.into_iter().enumerate() {
            let place = format!("{key}[{index}]");
            match T::deserialize(&value) {
                Ok(shape) => reads.push(Read { file: self.file.to_owned(), place, value, shape }),
                Err(error) => {
                    let error = error.to_string();
                    let expected = format!("an object as AWS prints it: {}", without_value(&error));
                    let path = format!("{}: {place}", self.file);
                    self.problems.push(Problem::invalid(path, expected));
                }
            }
        }
        Some(reads)
    }

    fn unnamed<T: DeserializeOwned + Serialize>(
        &mut self,
        key: &str,
        resource: &Option<String>,
        lists: &mut Vec<Unnamed<T>>,
    ) -> bool {
        let Some(items) = self.list(key) else { return false };
        lists.push(Unnamed { file: self.file.to_owned(), resource: resource.clone(), items });
        true
    }
}

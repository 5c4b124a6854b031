use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{HeaderMap, HeaderValue};

use super::group_draw::GroupDraw;
#[cfg(feature = "sticky")]
use crate::http::sticky::{GroupSessions, Sessions};
use crate::{ConfigError, escape::Escaped};

/// Forwards requests to one of up to 5 groups of endpoints, by their weights.
///
/// A group is any service, such as a [`Balancer`](crate::Balancer). Its share of the requests is
/// its weight over the sum of all weights, closely for any hundred requests and not only on
/// average. A group that has no endpoints fails the requests of its share: another group is no
/// fallback.
///
/// With [`sticky`](ForwardBuilder::sticky), a client stays with its group while that has a weight
/// above 0.
///
/// If all weights are 0, requests get status 503.
///
/// ```
/// use tower_lb::rules::Forward;
///
/// # let (stable, canary) = ((), ());
/// let groups = Forward::builder().group("stable", 90, stable).group("canary", 10, canary);
/// let forward = groups.build()?;
/// # Ok::<_, tower_lb::ConfigError>(())
/// ```
pub struct Forward<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    groups: Box<[Group<S>]>,
    /// The sum of the weights.
    total: u32,
    draw: GroupDraw,
    #[cfg(feature = "sticky")]
    sessions: Box<[GroupSessions]>,
}

struct Group<S> {
    name: Arc<str>,
    weight: u32,
    service: S,
    forwarded: AtomicU64,
}

/// A group of a [`Forward`], and how many requests it has got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GroupStatus {
    /// The name of the group.
    pub name: String,
    /// The weight, from 0 to 999.
    pub weight: u32,
    /// The number of requests that were forwarded to it.
    pub forwarded: u64,
}

/// Where a request goes.
pub(super) struct Choice<'a, S> {
    pub(super) service: &'a S,
    pub(super) group: &'a str,
    /// What the response has to set.
    pub(super) cookies: Cookies,
}

/// The cookies of new sessions: nearly always none, and nearly never more than two.
pub(super) type Cookies = [Option<HeaderValue>; MAX_SESSIONS];

const MAX_GROUPS: usize = 5;
const MAX_WEIGHT: u32 = 999;
/// A session for requests of the same site, and one for requests of others.
const MAX_SESSIONS: usize = 2;

impl<S> Forward<S> {
    /// Forwards all requests to one group.
    pub fn to(service: S) -> Self {
        let forwarded = AtomicU64::new(0);
        let group = Group { name: "default".into(), weight: 1, service, forwarded };
        let inner = Inner {
            groups: [group].into(),
            total: 1,
            draw: GroupDraw::new(),
            #[cfg(feature = "sticky")]
            sessions: Box::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns a builder without groups.
    pub fn builder() -> ForwardBuilder<S> {
        ForwardBuilder {
            groups: Vec::new(),
            #[cfg(feature = "sticky")]
            sessions: Vec::new(),
        }
    }

    /// Returns the groups and how many requests they have got.
    #[must_use]
    pub fn status(&self) -> Vec<GroupStatus> {
        let status = |group: &Group<S>| GroupStatus {
            name: group.name.to_string(),
            weight: group.weight,
            forwarded: group.forwarded.load(Relaxed),
        };
        self.inner.groups.iter().map(status).collect()
    }

    /// Returns the group of a request; `None` if all weights are 0.
    pub(super) fn choose(&self, headers: &HeaderMap) -> Option<Choice<'_, S>> {
        let (position, cookies) = self.position(headers)?;
        let group = self.inner.groups.get(position)?;
        group.forwarded.fetch_add(1, Relaxed);
        Some(Choice { service: &group.service, group: &group.name, cookies })
    }

    #[cfg(not(feature = "sticky"))]
    fn position(&self, _headers: &HeaderMap) -> Option<(usize, Cookies)> {
        self.draw().map(|position| (position, Cookies::default()))
    }

    #[cfg(feature = "sticky")]
    fn position(&self, headers: &HeaderMap) -> Option<(usize, Cookies)> {
        let Inner { groups, sessions, .. } = &*self.inner;
        // A group of weight 0 is being taken out: its sessions move.
        let is_eligible = |group: usize| groups.get(group).is_some_and(|group| group.weight > 0);
        let find = |sessions: &GroupSessions| sessions.find(headers);
        // An array, so that sessions cost no allocation.
        let found: [_; MAX_SESSIONS] =
            std::array::from_fn(|number| sessions.get(number).and_then(find));
        let session = found.iter().flatten().find(|session| is_eligible(session.group));
        let position = match session {
            Some(session) => session.group,
            None => self.draw()?,
        };
        let mut cookies = Cookies::default();
        for ((sessions, found), cookie) in sessions.iter().zip(&found).zip(&mut cookies) {
            let is_due = found.as_ref().is_none_or(|one| one.renew || one.group != position);
            *cookie = is_due.then(|| sessions.cookie(position)).flatten();
        }
        Some((position, cookies))
    }

    fn draw(&self) -> Option<usize> {
        let mut number = self.inner.draw.draw(self.inner.total);
        self.inner.groups.iter().position(|group| {
            let is_drawn = number < group.weight;
            number = number.saturating_sub(group.weight);
            is_drawn
        })
    }
}

impl<S> Clone for Forward<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S> fmt::Debug for Forward<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({self})")
    }
}

/// `to stable 90, canary 10`
impl<S> fmt::Display for Forward<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, group) in self.inner.groups.iter().enumerate() {
            let separator = if number == 0 { "to" } else { "," };
            write!(f, "{separator} {} {}", Escaped(&group.name), group.weight)?;
        }
        Ok(())
    }
}

/// Configures a [`Forward`].
#[must_use]
pub struct ForwardBuilder<S> {
    groups: Vec<Group<S>>,
    #[cfg(feature = "sticky")]
    sessions: Vec<Sessions>,
}

impl<S> ForwardBuilder<S> {
    /// Adds a group with a name, which no other group has, and a weight from 0 to 999. The cookies
    /// of sessions name the group, so a group keeps its sessions while it keeps its name.
    pub fn group(mut self, name: impl Into<Arc<str>>, weight: u32, service: S) -> Self {
        let forwarded = AtomicU64::new(0);
        self.groups.push(Group { name: name.into(), weight, service, forwarded });
        self
    }

    /// Keeps a client with its group, by a signed cookie with the name, the lifetime and the
    /// attributes of `sessions`. It may be called twice: browsers send the cookie with
    /// [`SameSite::None`](crate::http::sticky::SameSite::None) also with requests of other sites,
    /// and an Application Load Balancer sets one of each kind.
    ///
    /// A cookie that is forged, expired, or of a group that is gone or has weight 0 counts as none.
    /// No session begins with a response of status 5xx. Default: each request is drawn anew.
    #[cfg(feature = "sticky")]
    pub fn sticky(mut self, sessions: Sessions) -> Self {
        self.sessions.push(sessions);
        self
    }

    /// Returns the action.
    ///
    /// # Errors
    ///
    /// If there are no groups or more than 5, if a weight is above 999, if two groups have the same
    /// name, or if the sessions have settings that apply to endpoints only.
    pub fn build(self) -> Result<Forward<S>, ConfigError> {
        let groups = self.groups;
        let count = groups.len();
        ConfigError::unless((1..=MAX_GROUPS).contains(&count), "groups", count, "1 to 5 groups")?;
        for (position, Group { name, weight, .. }) in groups.iter().enumerate() {
            let field = |field| format!("groups[{position}].{field}");
            if *weight > MAX_WEIGHT {
                let error = ConfigError::new(field("weight"), "a number from 0 to 999");
                return Err(error.with_value(weight));
            }
            if groups[..position].iter().any(|other| other.name == *name) {
                let error = ConfigError::new(field("name"), "a name that no other group has");
                return Err(error.with_value(name));
            }
        }
        let inner = Inner {
            total: groups.iter().map(|group| group.weight).sum(),
            draw: GroupDraw::new(),
            #[cfg(feature = "sticky")]
            sessions: group_sessions(self.sessions, &groups)?,
            groups: groups.into(),
        };
        Ok(Forward { inner: Arc::new(inner) })
    }
}

#[cfg(feature = "sticky")]
fn group_sessions<S>(
    sessions: Vec<Sessions>,
    groups: &[Group<S>],
) -> Result<Box<[GroupSessions]>, ConfigError> {
    let count = sessions.len();
    ConfigError::unless(count <= MAX_SESSIONS, "sticky", count, "at most 2 kinds of sessions")?;
    let names = || groups.iter().map(|group| &*group.name);
    let of_groups =
        |sessions| GroupSessions::new(sessions, names()).map_err(|error| error.within("sticky"));
    sessions.into_iter().map(of_groups).collect()
}

impl<S> fmt::Debug for ForwardBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardBuilder")
            .field("groups", &self.groups.iter().map(|group| &group.name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(forward: &Forward<u8>, requests: usize) -> Vec<u64> {
        for _ in 0..requests {
            forward.choose(&HeaderMap::new());
        }
        forward.status().iter().map(|group| group.forwarded).collect()
    }

    #[test]
    fn groups_get_their_shares() {
        let forward = Forward::builder().group("a", 90, 1).group("b", 0, 2).group("c", 10, 3);
        let chosen = chosen(&forward.build().unwrap(), 1000);
        assert_eq!(chosen[1], 0);
        assert!(chosen[0].abs_diff(900) <= 3 && chosen[2].abs_diff(100) <= 3, "{chosen:?}");
    }

    #[test]
    fn without_a_weight_there_is_no_group() {
        let forward = Forward::builder().group("a", 0, 1).group("b", 0, 2).build().unwrap();
        assert!(forward.choose(&HeaderMap::new()).is_none());
    }

    #[test]
    fn groups_are_checked() {
        let error = |builder: ForwardBuilder<u8>| builder.build().unwrap_err().to_string();
        let groups = |count: usize| {
            (0..count).fold(Forward::builder(), |all, group| all.group(group.to_string(), 1, 0))
        };
        assert_eq!(error(groups(0)), "`groups` is 0: expected 1 to 5 groups");
        assert_eq!(error(groups(6)), "`groups` is 6: expected 1 to 5 groups");
        assert!(groups(5).build().is_ok());
        assert_eq!(
            error(groups(1).group("x", 1000, 0)),
            "`groups[1].weight` is 1000: expected a number from 0 to 999"
        );
        assert_eq!(
            error(groups(1).group("0", 1, 0)),
            "`groups[1].name` is 0: expected a name that no other group has"
        );
    }
}

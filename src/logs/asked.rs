//! What a request asks for, and whether the person may have it. Shared by page, stream and download.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use axum_extra::extract::{Query, QueryRejection};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;

use super::wording;
use crate::app::App;
use crate::auth::{CurrentUser, access};
use crate::catalogue::Service;
use crate::config::Environment;
use crate::kube::logs::{Level, Place, Selection, Whose};
use crate::kube::{self, CALL_TIMEOUT, Named, Target, UserClient, Wanted, WorkloadRef, beside, workload};
use crate::web::Error;

const SYNCED_WITHIN: Duration = Duration::from_secs(5);

/// The address of a view; every part may be missing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    pub env: String,
    pub pod: BTreeSet<String>,
    pub container: BTreeSet<String>,
    pub level: BTreeSet<Level>,
    /// Searched for in the view; hides nothing.
    pub q: String,
    pub previous: bool,
    pub since: Since,
    /// The time of a line somebody linked to.
    pub at: Option<Timestamp>,
    /// Where the page's last lines stand, for the stream that goes on from them.
    pub after: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
pub enum Since {
    #[serde(rename = "5m")]
    FiveMinutes,
    #[default]
    #[serde(rename = "30m")]
    HalfAnHour,
    #[serde(rename = "2h")]
    TwoHours,
    #[serde(rename = "12h")]
    TwelveHours,
    #[serde(rename = "7d")]
    SevenDays,
}

impl Since {
    pub const ALL: [Self; 5] =
        [Self::FiveMinutes, Self::HalfAnHour, Self::TwoHours, Self::TwelveHours, Self::SevenDays];

    /// As it stands in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::HalfAnHour => "30m",
            Self::TwoHours => "2h",
            Self::TwelveHours => "12h",
            Self::SevenDays => "7d",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Self::FiveMinutes => "Last 5 min",
            Self::HalfAnHour => "Last 30 min",
            Self::TwoHours => "Last 2 h",
            Self::TwelveHours => "Last 12 h",
            Self::SevenDays => "Last 7 d",
        }
    }

    pub fn span(self) -> SignedDuration {
        match self {
            Self::FiveMinutes => SignedDuration::from_mins(5),
            Self::HalfAnHour => SignedDuration::from_mins(30),
            Self::TwoHours => SignedDuration::from_hours(2),
            Self::TwelveHours => SignedDuration::from_hours(12),
            Self::SevenDays => SignedDuration::from_hours(7 * 24),
        }
    }
}

impl Asked {
    pub fn read(query: Result<Query<Self>, QueryRejection>) -> Result<Self, Error> {
        query.map(|Query(asked)| asked).map_err(|_| Error::BadRequest(wording::ODD_QUERY.into()))
    }

    pub fn selection(&self) -> Selection {
        Selection { pods: self.pod.clone(), containers: self.container.clone() }
    }

    /// No level chosen means all of them.
    pub fn takes(&self, level: Level) -> bool {
        self.level.is_empty() || self.level.contains(&level)
    }

    /// The query of an address that asks for the same, with what `more` adds.
    pub fn query(&self, env: &str, more: &[(&str, &str)]) -> String {
        let mut pairs = vec![("env", env)];
        pairs.extend(self.pod.iter().map(|pod| ("pod", pod.as_str())));
        pairs.extend(self.container.iter().map(|container| ("container", container.as_str())));
        pairs.extend(self.level.iter().map(|level| ("level", level.name())));
        if self.since != Since::default() {
            pairs.push(("since", self.since.name()));
        }
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).extend_pairs(more).finish()
    }
}

/// A place the person may read, with the client that reads it in their name.
pub struct Open {
    pub service: Service,
    pub target: Target,
    pub production: bool,
    pub client: UserClient,
    pub workload: Workload,
}

/// Which workload the service is, here.
pub enum Workload {
    None,
    One(Place),
    Many(Vec<Named>),
}

/// Finds the service and its workload, and asks the cluster whether this person may read its logs.
pub async fn open(app: &App, user: &CurrentUser, service: &str, asked: &Asked) -> Result<Open, Error> {
    let service = app.catalogue.load().service(service).cloned().ok_or(Error::NotFound)?;
    let environment = environment(app, &asked.env).ok_or(Error::NotFound)?;
    let target = Target::new(&service, environment);
    if !access::may_view(app, user, &target.cluster, &target.namespace).await? {
        return Err(Error::NotFound); // not yours to see is not there
    }
    if !may_read(app, user, &target).await? {
        let sentence =
            wording::may_not_read(&service.name, &target.environment, &target.namespace, &service.team);
        return Err(Error::Forbidden(sentence));
    }
    let identity = access::kube_identity(app, user)?;
    let client = app.clusters.get(&target.cluster).as_user(&identity);
    let workload = find(app, &client, &target).await?;
    Ok(Open { service, target, production: environment.production, client, workload })
}

/// The first environment of the configuration stands for none named.
fn environment<'a>(app: &'a App, name: &str) -> Option<&'a Environment> {
    if name.is_empty() { app.config.environments.first() } else { app.config.environment(name) }
}

/// `get pods/log` in the namespace, as the cluster's own authorizer decides.
pub async fn may_read(app: &App, user: &CurrentUser, target: &Target) -> Result<bool, Error> {
    let wanted = Wanted {
        verb: "get",
        group: "",
        resource: "pods",
        subresource: Some("log"),
        namespace: &target.namespace,
        name: None,
    };
    Ok(access::review(app, user, &target.cluster, wanted).await?.allowed)
}

/// The workload by the watch cache, its pods' selector from the object as the person may see it.
async fn find(app: &App, client: &UserClient, target: &Target) -> Result<Workload, Error> {
    let watch = app.watch(&target.cluster);
    let synced = async {
        while !watch.is_synced() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Only a portal that has just started ever waits here.
    let _ = tokio::time::timeout(SYNCED_WITHIN, synced).await;
    let Named { kind, name } = match watch.find(target) {
        kube::Workload::None => return Ok(Workload::None),
        kube::Workload::Many(many) => return Ok(Workload::Many(many)),
        kube::Workload::One(named) => named,
    };
    let call = workload::get(client, WorkloadRef { kind, namespace: &target.namespace, name: &name });
    let live = match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(Some(live))) => live,
        Ok(Ok(None)) => return Ok(Workload::None),
        Ok(Err(::kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            return Err(Error::Forbidden(format!("The cluster refuses: {}.", status.message)));
        }
        Ok(Err(_)) | Err(_) => return Err(Error::Unavailable(wording::cluster_away(&target.cluster))),
    };
    let selector = live.selector().and_then(written);
    // Never an empty selector: it would be everybody's pods.
    let selector = selector.filter(|selector| !selector.is_empty());
    let selector = selector.context("the workload's selector can't be written as a query")?;
    let (cluster, namespace) = (target.cluster.clone(), target.namespace.clone());
    let own = live.selector().and_then(|selector| selector.match_labels.clone()).unwrap_or_default();
    let whose = Some(Whose { workload: name, own });
    Ok(Workload::One(Place { cluster, namespace, selector, whose }))
}

/// A selector as `kubectl -l` takes it, with the pods that may stand beside the workload's own. `None` if it holds an
/// operator this portal does not know.
fn written(selector: &LabelSelector) -> Option<String> {
    let equal = selector.match_labels.iter().flatten().map(|(key, value)| {
        let beside = beside::SUFFIXES.map(|suffix| beside::value(value, suffix)).join(",");
        Some(format!("{key} in ({value},{beside})"))
    });
    let others = selector.match_expressions.iter().flatten().map(|term| {
        let values = term.values.as_ref().map(|values| values.join(",")).unwrap_or_default();
        match term.operator.as_str() {
            "In" => Some(format!("{} in ({values})", term.key)),
            "NotIn" => Some(format!("{} notin ({values})", term.key)),
            "Exists" => Some(term.key.clone()),
            "DoesNotExist" => Some(format!("!{}", term.key)),
            _ => None,
        }
    });
    equal.chain(others).collect::<Option<Vec<_>>>().map(|terms| terms.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_as_kubectl_takes_it() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"app": "checkout"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["a", "b"]},
                {"key": "canary", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        assert_eq!(
            written(&selector).unwrap(),
            "app in (checkout,checkout-green,checkout-canary),tier in (a,b),!canary"
        );
    }

    #[test]
    fn an_address_says_the_same_again() {
        let asked = Asked {
            pod: ["a".into()].into(),
            level: [Level::Error, Level::Warn].into(),
            since: Since::TwoHours,
            ..Asked::default()
        };
        assert_eq!(
            asked.query("staging", &[("at", "x y")]),
            "env=staging&pod=a&level=error&level=warn&since=2h&at=x+y"
        );
    }
}

//! A new size: of a workload, or the bounds of its autoscaler; and whether the namespace has room for it.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{LimitRange, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;

use super::change::Input;
use super::checks::{self, Check};
use super::deploy::{Action, Size};
use super::draft::{Draft, Fields};
use super::found;
use crate::kube::ownership::{self, ReplicasOwner};
use crate::kube::{LiveWorkload, MakesPods, UserClient};
use crate::web::Result;

impl Draft {
    pub(super) async fn scale(
        &mut self,
        client: &UserClient,
        live: &LiveWorkload,
        input: &Input,
    ) -> Result<()> {
        let namespace = self.place.namespace.clone();
        let all = ListParams::default();
        let (autoscalers, quotas, limits, budgets) = (
            client.api::<HorizontalPodAutoscaler>(&namespace),
            client.api::<ResourceQuota>(&namespace),
            client.api::<LimitRange>(&namespace),
            client.api::<PodDisruptionBudget>(&namespace),
        );
        let (autoscalers, quotas, limits, budgets) =
            tokio::join!(autoscalers.list(&all), quotas.list(&all), limits.list(&all), budgets.list(&all));
        let autoscalers = autoscalers.map_err(found::away_from(&self.place.cluster))?.items;
        let replicas = live.wanted();
        let from = match ownership::autoscaler(&autoscalers, live.kind(), live.name())
            .and_then(|found| Some((found.metadata.name.clone()?, found.spec.clone()?)))
        {
            Some((name, spec)) => {
                Size::Autoscaler { name, min: spec.min_replicas.unwrap_or(1), max: spec.max_replicas }
            }
            None => Size::Replicas { replicas },
        };
        self.lead = match &from {
            Size::Replicas { .. } => format!("{} run now.", from.words()),
            Size::Autoscaler { name, .. } => {
                format!(
                    "The autoscaler {name} sets the number, between {}. {replicas} now. Change its bounds here.",
                    from.words()
                )
            }
        };
        if let ReplicasOwner::GitOps(gitops) = ownership::replicas_owner(live) {
            let detail = gitops.sentence(live.kind());
            self.checks.push(Check::bad("Another tool scales this", detail, None));
        }
        let to = self.wished(&from, input);
        if let Some(to) = &to {
            let quotas = quotas.map(|list| list.items).unwrap_or_default();
            let limits = limits.map(|list| list.items).unwrap_or_default();
            self.room(live, replicas, to, &quotas, &limits);
        }
        if let Ok(budgets) = budgets {
            self.budgets(&budgets.items, live, to.as_ref());
        }
        let typed = |value: &Option<String>, now: i32| value.clone().unwrap_or_else(|| now.to_string());
        let (min, max) = match &from {
            Size::Autoscaler { min, max, .. } => (*min, *max),
            Size::Replicas { replicas } => (*replicas, *replicas),
        };
        self.fields = Fields::Scale {
            replicas: typed(&input.replicas, replicas),
            min: typed(&input.min, min),
            max: typed(&input.max, max),
            from: from.clone(),
        };
        let (workload, workload_kind) = (live.name().to_string(), live.kind());
        self.action = to.map(|to| Action::Scale { workload, workload_kind, from, to });
        Ok(())
    }

    /// The size that was typed, if it can be used.
    fn wished(&mut self, from: &Size, input: &Input) -> Option<Size> {
        let number = |text: &Option<String>| text.as_deref().map(|text| text.trim().parse::<i32>().ok());
        let to = match from {
            Size::Replicas { .. } => match number(&input.replicas)? {
                Some(replicas @ 0..=1000) => Size::Replicas { replicas },
                _ => return self.odd("Give a whole number of replicas from 0 to 1000."),
            },
            Size::Autoscaler { name, .. } => match (number(&input.min)?, number(&input.max)?) {
                (Some(min @ 1..=1000), Some(max @ 1..=1000)) if min <= max => {
                    Size::Autoscaler { name: name.clone(), min, max }
                }
                _ => return self.odd("Give two whole numbers from 1 to 1000, the least first."),
            },
        };
        if to == *from {
            return self.odd("That is what it is now.");
        }
        Some(to)
    }

    fn odd(&mut self, sentence: &str) -> Option<Size> {
        self.odd = Some(sentence.into());
        None
    }

    /// Whether the quotas leave room for the pods that come on top.
    fn room(
        &mut self,
        live: &LiveWorkload,
        replicas: i32,
        to: &Size,
        quotas: &[ResourceQuota],
        limits: &[LimitRange],
    ) {
        let most = match to {
            Size::Replicas { replicas } => *replicas,
            Size::Autoscaler { max, .. } => *max,
        };
        let namespace = self.place.namespace.as_str();
        self.checks.extend(checks::room(live, most - replicas, quotas, limits, namespace));
    }

    fn budgets(&mut self, budgets: &[PodDisruptionBudget], live: &LiveWorkload, to: Option<&Size>) {
        let labels = live.template().and_then(|template| template.metadata.as_ref()?.labels.clone());
        let labels = labels.unwrap_or_default();
        let matching = budgets.iter().find(|budget| {
            let selector =
                budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()?.match_labels.as_ref());
            selector.is_some_and(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)))
        });
        let Some(budget) = matching else { return };
        let needs = budget.status.as_ref().map_or(0, |status| status.desired_healthy);
        let name = budget.metadata.name.as_deref().unwrap_or_default();
        let fewest = match to {
            Some(Size::Replicas { replicas }) => *replicas,
            Some(Size::Autoscaler { min, .. }) => *min,
            None => i32::MAX,
        };
        self.checks.push(if fewest < needs {
            let detail = format!("{name} wants {needs} healthy pods; nodes can’t be drained with fewer.");
            Check::warn("Below the disruption budget", detail)
        } else {
            Check::ok("The disruption budget holds", format!("{name} wants {needs} healthy pods"))
        });
    }
}

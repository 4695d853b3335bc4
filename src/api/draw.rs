//! From what the slices know to what the API says.

use super::types::{
    Check, Decision, Deploy, DeployStep, Evidence, GlassReview, LastDeploy, Link, Machine, Migration,
    ObjectDiff, Plan, Pod, Service, ServiceDetail, Status, Token, Trust, Verdict, Version,
};
use crate::app::App;
use crate::auth::{Person, machine, token};
use crate::catalogue::view::{Placed, View};
use crate::config;
use crate::deploy::{self, BrokenGlass, Report, State};
use crate::kube::PodState;
use crate::web::filters;

pub fn deploy(app: &App, report: Report) -> Deploy {
    let Report { deploy, decided, steps, outcome, evidence, .. } = report;
    let change = deploy.action.change();
    let migration = deploy.action.migration();
    let ended = deploy.state.is_end();
    let needs_approval = deploy.needs_approval();
    let stopped = ended && deploy.state != State::Succeeded;
    // What is said to whoever was turned down is said by the decision itself.
    let next_action = outcome.as_ref().filter(|_| !matches!(deploy.state, State::Rejected { .. }));
    Deploy {
        id: deploy.id.0,
        action: deploy.action.verb().into(),
        title: deploy.action.title(&deploy.place.service),
        state: deploy.state.name().into(),
        ended,
        version: change
            .map(|change| change.version.clone())
            .or(migration.map(|migration| migration.version.clone())),
        image_digest: change
            .and_then(|change| change.digest.clone())
            .or(migration.and_then(|migration| migration.digest.clone())),
        migration: migration.map(|migration| Migration {
            command: migration.line(),
            image: migration.image.clone(),
            container: migration.container.clone(),
            job: migration.job_name(deploy.id),
            deadline_seconds: migration.deadline_seconds,
        }),
        replaces: change.map(|change| change.replaces_version.clone()).filter(|version| !version.is_empty()),
        strategy: change.map(|change| change.strategy.kind().into()),
        share: deploy.progress.as_ref().and_then(|progress| progress.share).filter(|_| !ended),
        waits_for_promotion: deploy.waits_for_a_hand(),
        requester: deploy.requester.name.clone(),
        reason: deploy.reason.clone(),
        digest: deploy.digest.0.clone(),
        approvals_needed: if needs_approval { deploy.policy.approvals } else { 0 },
        broken_glass: deploy.glass,
        approvers: if needs_approval { deploy.policy.approvers.clone() } else { Vec::new() },
        decisions: decided
            .into_iter()
            .map(|decided| Decision {
                by: decided.person.name,
                approved: decided.verdict == deploy::Verdict::Approve,
                note: decided.note,
                at: decided.at,
            })
            .collect(),
        expires: match deploy.state {
            State::AwaitingApproval { expires } => Some(expires),
            _ => None,
        },
        requested_at: deploy.requested,
        ended_at: deploy.ended,
        steps: steps
            .into_iter()
            .map(|step| DeployStep {
                title: step.title.into(),
                detail: step.meta,
                state: match step.state {
                    "done" => "done",
                    "todo" => "todo",
                    "bad" => "failed",
                    _ if stopped => "failed",
                    _ => "now",
                }
                .into(),
            })
            .collect(),
        pods: deploy.progress.iter().flat_map(|progress| &progress.pods).map(pod).collect(),
        next_action: next_action.map(|outcome| outcome.text.clone()).filter(|text| !text.is_empty()),
        why: outcome.map(|outcome| outcome.title),
        evidence: evidence.into_iter().map(|it| Evidence { title: it.title, lines: it.lines }).collect(),
        url: address(app, &deploy.url()),
        service: deploy.place.service,
        team: deploy.place.team,
        environment: deploy.place.environment,
        namespace: deploy.place.namespace,
    }
}

pub fn glass(broken: &BrokenGlass, user: &Person) -> GlassReview {
    GlassReview {
        id: broken.id,
        deploy: broken.deploy.map(|id| id.0),
        title: broken.title.clone(),
        environment: broken.environment.clone(),
        by: broken.by.name.clone(),
        reason: broken.reason.clone(),
        at: broken.at,
        reviewers: broken.reviewers.clone(),
        yours: broken.may_sign_off(user).is_ok(),
        signed_off_by: broken.review.as_ref().map(|review| review.by.clone()),
    }
}

/// Of a page, for a person to open.
pub fn address(app: &App, path: &str) -> String {
    format!("{}{path}", app.config.origin())
}

fn pod(pod: &PodState) -> Pod {
    Pod {
        name: pod.name.clone(),
        new: pod.new,
        ready: pod.ready,
        phase: filters::pod_word(&pod.class).into(),
        restarts: pod.restarts,
        node: pod.node.clone(),
        reason: pod.words.clone(),
    }
}

pub fn service(app: &App, view: View) -> Service {
    let View { service, places } = view;
    Service {
        url: address(app, &format!("/services/{}", service.name)),
        name: service.name,
        title: service.title,
        description: service.description,
        team: service.team,
        tier: service.tier,
        lifecycle: service.lifecycle,
        kind: service.kind,
        tags: service.tags,
        environments: places.into_iter().map(status).collect(),
    }
}

pub fn service_detail(app: &App, mut view: View) -> ServiceDetail {
    let link = |link: crate::catalogue::Link| Link { title: link.title, url: link.url };
    let links = std::mem::take(&mut view.service.links).into_iter().map(link).collect();
    ServiceDetail {
        depends_on: std::mem::take(&mut view.service.depends_on),
        used_by: std::mem::take(&mut view.service.used_by),
        links,
        service: service(app, view),
    }
}

pub fn status(placed: Placed) -> Status {
    let Placed { target, production, status, last } = placed;
    Status {
        environment: target.environment,
        production,
        cluster: target.cluster,
        namespace: target.namespace,
        health: status.health,
        reason: if status.health == crate::kube::Health::Healthy { String::new() } else { status.reason },
        version: status.version,
        ready: status.ready,
        wanted: status.wanted,
        stale: status.stale,
        seen: status.seen,
        last_deploy: last.map(|last| LastDeploy {
            id: last.id,
            at: last.at(),
            state: last.state,
            by: last.by,
        }),
    }
}

pub fn plan(plan: deploy::Plan) -> Plan {
    let digest = plan.digest();
    let chosen = plan.chosen;
    Plan {
        service: plan.place.service,
        environment: plan.place.environment,
        version: chosen.as_ref().map(|chosen| chosen.version.clone()).unwrap_or_default(),
        image_digest: chosen.and_then(|chosen| chosen.digest),
        replaces: plan.running,
        strategy: plan.way.map(Into::into),
        approvals: plan.policy.approvals,
        approvers: plan.policy.approvers,
        checks: plan.checks.into_iter().map(check).collect(),
        diffs: plan
            .shown
            .into_iter()
            .map(|shown| ObjectDiff {
                unified: similar::TextDiff::from_lines(&shown.before, &shown.after)
                    .unified_diff()
                    .context_radius(3)
                    .to_string(),
                kind: shown.kind,
                name: shown.name,
            })
            .collect(),
        take_over_from: plan.take_over.map(|held| held.manager),
        digest: digest.map(|digest| digest.0),
    }
}

pub fn versions(plan: deploy::Plan) -> Vec<Version> {
    let offers = plan.versions.into_iter();
    offers
        .map(|offer| Version {
            version: offer.version,
            created: offer.created,
            runs_in: offer.runs_in.into_iter().map(|(environment, _)| environment).collect(),
            refused: offer.refused,
        })
        .collect()
}

pub fn check(check: deploy::Check) -> Check {
    Check {
        verdict: match check.class {
            "ok" => Verdict::Passed,
            "warn" => Verdict::Warning,
            "bad" => Verdict::Failed,
            _ => Verdict::NotAsked,
        },
        title: check.title,
        detail: check.detail,
        help: check.help,
    }
}

pub fn machine(machine: &config::Machine) -> Machine {
    let trust = |trust: &config::Trust| Trust {
        issuer: trust.issuer.get_ref().clone(),
        audience: trust.audience.clone(),
        subject: trust.subject.get_ref().clone(),
    };
    Machine {
        name: machine.name().into(),
        team: machine.team.clone(),
        environments: machine.environments.iter().map(|name| name.get_ref().clone()).collect(),
        scopes: machine::scopes(machine).iter().collect(),
        trusts: machine.trust.iter().map(trust).collect(),
    }
}

pub fn token(token: &token::Token) -> Token {
    Token {
        id: token.id,
        name: token.name.clone(),
        scopes: token.scopes.iter().collect(),
        created: token.created,
        expires: token.expires,
        last_used: token.last_used,
    }
}

//! Pilothouse, a self-service internal developer portal.
//!
//! # The map
//! Layers; a file imports from its own slice or from lines above it:
//!
//! | layer | modules |
//! |---|---|
//! | foundation | [`config`] [`clock`] [`db`] [`queue`]: rows that any replica may claim |
//! | web | [`web`]: frame, errors, assets, routes with their access table |
//! | auth | [`auth`]: sign-in, sessions, who is asking, what a cluster lets them do |
//! | kube | [`kube`]: acting as a person, watching as the portal |
//! | registry | [`registry`]: versions of an image and the bytes behind them |
//! | prometheus | [`prometheus`]: one number about how requests go |
//! | slices | [`catalogue`] [`deploy`] [`grants`]: rights for a while, [`guard`]: the cluster demands approvals too, [`inbox`]: what waits for approval, [`notices`]: what people are told, [`logs`] [`home`] [`audit`] |
//! | api | [`api`]: the slices for programs, and the OpenAPI document of it |
//! | outside | [`server`] [`metrics`] [`demo`]: the sample world's identity provider |
//! | the command | [`api::types`], the shapes of the API, and [`cli`], which knows nothing else of the portal |
//!
//! [`app::AppState`] is what handlers share. Where a line has to look below itself (the frame of every page names who is
//! signed in), the test at the end of this file says so: it holds every `use crate::` to a list.
//!
//! # What always holds
//! * Every write to a cluster is made as a person: a [`kube::UserClient`] can't be built without one, and
//!   [`kube::PortalClient`] has no method that writes.
//! * A change, its event and its row of the audit trail are one transaction.
//! * A deploy's state is the fold of its events; a stale owner is fenced off; its write happens once.
//! * An approval counts for a digest, and everything it is bound to is read again before anything is applied.
//!
//! # A production deploy, start to finish
//! 1. `deploy/mod.rs` routes the form to `deploy/request.rs`: who, may they look, what would happen (`deploy/plan.rs`, asked
//!    of the cluster as that person).
//! 2. `deploy/submit.rs` stores request, event and audit row. It waits for approval: `inbox.rs` lists it.
//! 3. `deploy/approval.rs` takes the decision by the rules of `deploy/gates.rs`; the last one queues it.
//! 4. `deploy/engine.rs` claims it, `deploy/look.rs` looks, `deploy/step.rs` decides, `deploy/act.rs` writes through
//!    `kube/apply.rs` as the requester.
//! 5. `kube/observe.rs`, `kube/rollout.rs` and `kube/diagnosis.rs` say how it goes; `deploy/show.rs` streams it to the page.
//! 6. If it does not do, `deploy/back.rs` says what is put back. Where a guard holds, `guard/watch.rs` has seen the change as
//!    well, and found the deploy that explains it.
//!
//! # From a cookie to a person
//! `auth/sign_in.rs` → the provider → `auth/oidc.rs` (the token), `auth/claims.rs` (who that is to a cluster) →
//! `auth/session.rs` (a row). From then on `auth/session.rs` puts a [`auth::CurrentUser`] into every request, for programs
//! `auth/bearer.rs`, with groups that `auth/refresh.rs` keeps fresh; `web/routes.rs` says who may come in, and
//! `auth/access.rs` asks the cluster what they may do.
//!
//! # A line of a log
//! `kube/logs/upstream.rs` follows a container once for all readers, `kube/logs/view.rs` merges for one reader,
//! `logs/stream.rs` sends it, `static/js/logview.js` draws it.

pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod demo;
pub mod deploy;
pub mod events;
pub mod grants;
pub mod guard;
pub mod home;
pub mod inbox;
pub mod kube;
pub mod logs;
pub mod metrics;
pub mod notices;
pub mod prometheus;
pub mod queue;
pub mod registry;
pub mod server;
pub mod web;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// Module, and what its files may use of the others. A new edge is a decision: it is made here, where it is reviewed.
    const MAY_USE: &[(&str, &[&str])] = &[
        ("config", &[]),
        ("clock", &[]),
        ("db", &[]),
        ("queue", &[]),
        ("events", &["auth"]),               // who did it
        ("web", &["app", "auth", "events"]), // the frame names who is signed in
        ("auth", &["app", "config", "events", "kube", "web"]),
        ("kube", &["auth", "catalogue", "config"]), // which workload is a service's
        ("registry", &["config"]),
        ("prometheus", &["config"]),
        ("catalogue", &["app", "auth", "config", "db", "deploy", "kube", "web"]),
        ("notices", &["app", "auth", "web"]),
        (
            "deploy",
            &[
                "app",
                "auth",
                "catalogue",
                "config",
                "events",
                "kube",
                "notices",
                "prometheus",
                "queue",
                "registry",
                "web",
            ],
        ),
        ("grants", &["app", "auth", "catalogue", "config", "deploy", "events", "kube", "queue", "web"]),
        ("guard", &["app", "auth", "config", "deploy", "events", "kube"]),
        ("inbox", &["app", "auth", "deploy", "events", "grants", "web"]),
        ("logs", &["app", "auth", "catalogue", "config", "deploy", "kube", "web"]), // the log of a migration
        ("home", &["app", "auth", "catalogue", "deploy", "inbox", "kube", "notices", "web"]),
        ("audit", &["app", "auth", "events", "web"]),
        (
            "api",
            &[
                "app",
                "auth",
                "catalogue",
                "config",
                "deploy",
                "events",
                "grants",
                "kube",
                "logs",
                "server",
                "web",
            ],
        ),
        ("metrics", &["app", "auth"]),
        ("cli", &["api", "catalogue", "web"]), // shapes, the reader of catalog-info.yaml, ages in words
        ("demo", &["clock", "server", "web"]),
    ];

    #[test]
    fn modules_use_what_the_map_allows() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut unmapped = Vec::new();
        for (module, allowed) in MAY_USE {
            let mut used = BTreeSet::new();
            let folder = source.join(module);
            read_all(&folder, &mut used);
            read(&folder.with_extension("rs"), &mut used);
            used.remove(*module);
            unmapped.extend(
                used.iter()
                    .filter(|other| !allowed.contains(&other.as_str()))
                    .map(|other| format!("{module} uses {other}")),
            );
            let stale = allowed.iter().filter(|other| !used.contains(**other));
            unmapped
                .extend(stale.map(|other| format!("{module} no longer uses {other}: take it from the list")));
        }
        assert!(unmapped.is_empty(), "{unmapped:#?}");
    }

    fn read_all(folder: &Path, used: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { read_all(&path, used) } else { read(&path, used) }
        }
    }

    /// Collects the first word behind each `crate::`.
    fn read(file: &Path, used: &mut BTreeSet<String>) {
        let text = fs::read_to_string(file).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
        for rest in text.split("crate::").skip(1).filter(|_| file.extension().is_some_and(|it| it == "rs")) {
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default().split(',').map(str::trim).collect(),
                None => vec![rest],
            };
            let names = names.into_iter().map(|name| name.split(|c| !is_word(c)).next().unwrap_or_default());
            used.extend(names.filter(|name| !name.is_empty()).map(String::from));
        }
    }
}

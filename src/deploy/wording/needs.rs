//! What the pods need, as lines beside a form.

use std::collections::BTreeSet;
use std::time::Duration;

use super::all_of;
use crate::deploy::checks::{Check, capitalised};
use crate::deploy::pulls::Pull;
use crate::deploy::reads::Source;

/// The title of a check: the nodes that can't run an image.
pub fn wrong_platform(nodes: &str) -> String {
    format!("The image does not run on {nodes}")
}

pub fn built_for(platforms: &str) -> String {
    format!("It was built for {platforms}. Its pods on those nodes would end with “exec format error”.")
}

pub const BUILD_IT_TOO: &str = "Build it for these nodes, too: docker buildx build --platform …";

pub fn source(source: Source) -> &'static str {
    match source {
        Source::ConfigMap => "ConfigMap",
        Source::Secret => "Secret",
    }
}

/// Whether what the pods read from ConfigMaps and Secrets is there.
pub fn reads(named: &[Source], missing: &[String], namespace: &str) -> Check {
    if !missing.is_empty() {
        let detail =
            format!("{} in {namespace}. Its pods could not start.", capitalised(&missing.join(", ")));
        let title = "Something that its pods read is missing";
        return Check::bad(title, detail, Some("Create it first, then check again.".into()));
    }
    let count = |kind| match named.iter().filter(|it| **it == kind).count() {
        0 => None,
        1 => Some(source(kind).to_string()),
        many => Some(format!("{many} {}s", source(kind))),
    };
    let kinds: Vec<String> = [Source::ConfigMap, Source::Secret].into_iter().filter_map(count).collect();
    let are = if named.len() == 1 { "is" } else { "are" };
    Check::ok(format!("Its {} {are} there", kinds.join(" and ")), "With the keys that its pods name")
}

pub fn reads_not_asked(kind: Source, why: &str) -> Check {
    Check::idle(format!("{}s not checked", source(kind)), why)
}

pub fn made_by_mounting(names: &[&str]) -> Check {
    let detail =
        format!("{}: the secrets store makes it for the first pod that mounts it.", names.join(", "));
    Check::idle("A Secret is not there yet", detail)
}

/// Whether what the pods read is what it was when this version was deployed.
pub fn reads_since(changed: &[&str], unknown: &[&String], version: &str) -> Check {
    if !changed.is_empty() {
        return Check::warn("What its pods read has changed since", not_brought_back(changed, version));
    }
    match unknown {
        [] => {
            let detail = format!("When {version} was deployed here with success");
            Check::ok("What its pods read is as it was", detail)
        }
        unknown => {
            let names: Vec<&str> = unknown.iter().map(|name| name.as_str()).collect();
            let detail = format!("Nobody can say whether it is what {version} read: {}.", all_of(&names));
            Check::idle("What its pods read is not compared", detail)
        }
    }
}

pub fn not_brought_back(changed: &[&str], version: &str) -> String {
    let (was, it) = if changed.len() == 1 { ("was", "that") } else { ("were", "those") };
    format!(
        "{} {was} written to since {version} was deployed here with success; going back to it does not bring {it} back.",
        all_of(changed)
    )
}

pub fn registry_is_slow(host: &str, patience: Duration) -> String {
    format!("{host} did not answer within {} s.", patience.as_secs())
}

pub fn pull_secrets_not_asked(why: &str) -> Check {
    Check::idle("Pull secret not tried", why)
}

/// The kubelet stops at a file that it can't read, also where the image is everybody's.
pub fn unreadable_pull_secrets(names: &[String]) -> Check {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let detail = format!(
        "What is in {} is no Docker configuration, or a password in it is no base64. No node pulls anything with it.",
        all_of(&names)
    );
    Check::warn("Its pull secret can’t be read", detail)
}

/// What trying the passwords of the pods' pull secrets says. `useless`: those that are not there, or hold none. A node may
/// have passwords of its own, which nobody sees from here, so that this never refuses.
pub fn pulls(pulls: &[Pull], useless: &[String]) -> Check {
    const UNLESS: &str = "Unless the nodes have a password of their own, its pods can’t start.";
    let names: Vec<&str> = useless.iter().map(String::as_str).collect();
    let useless = match names.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is not there, or holds no passwords.")),
        several => Some(format!("{} are not there, or hold no passwords.", all_of(several))),
    };
    let with_useless =
        |detail: String| [Some(detail), useless.clone()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    for pull in pulls {
        match pull {
            Pull::Refused { image, secrets } => {
                let (host, repository) = (image.host(), image.repository());
                let secrets = all_of(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
                let detail = format!("{host} refuses the password in {secrets} for {repository}. {UNLESS}");
                return Check::warn("Its pull secret does not work", detail);
            }
            Pull::NoneFor { image, runs_already } => {
                let (host, repository) = (image.host(), image.repository());
                let title = format!("No pull secret is for {host}");
                if *runs_already && useless.is_none() {
                    let detail =
                        format!("Not everybody may read {repository} there, but it runs here already.");
                    return Check::idle(title, detail);
                }
                let detail = with_useless(format!("Not everybody may read {repository} there."));
                return Check::warn(title, format!("{detail} {UNLESS}"));
            }
            Pull::With(_) | Pull::Anybody | Pull::Unknown(_) => {}
        }
    }
    let unknown = pulls.iter().find_map(|pull| match pull {
        Pull::Unknown(why) => Some(why),
        _ => None,
    });
    if let Some(why) = unknown {
        return pull_secrets_not_asked(why);
    }
    let with: BTreeSet<&str> = pulls
        .iter()
        .filter_map(|pull| match pull {
            Pull::With(secret) => Some(secret.as_str()),
            _ => None,
        })
        .collect();
    if with.is_empty() {
        return Check::ok("Its images need no pull secret", with_useless("Everybody may read them.".into()));
    }
    let with: Vec<&str> = with.into_iter().collect();
    let detail = with_useless(format!("The registry takes the password in {}.", all_of(&with)));
    Check::ok("Its pull secret works", detail)
}

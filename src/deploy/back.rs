//! Putting back what ran well, when what was deployed does not: which version that is. The engine writes it as a second
//! change of the same deploy, in the requester's name and under the same approval.

use super::deploy::{Action, Deploy, ImageChange};
use super::strategy::Strategy;

/// What to put back if this deploy fails: the newest release of its target, whose soak passed; where the portal knows
/// none, what it replaced. None: there is nothing to go back to, or a rollback is what failed.
pub fn target(deploy: &Deploy, last_good: Option<&ImageChange>) -> Option<ImageChange> {
    let Action::Deploy(change) = &deploy.action else { return None };
    let fits = |good: &&ImageChange| {
        good.workload == change.workload
            && good.workload_kind == change.workload_kind
            && good.is_managed() == change.is_managed()
            && good.images.keys().eq(change.images.keys())
    };
    let before = last_good.filter(fits).cloned().or_else(|| replaced(change))?;
    if before.images == change.images && before.objects == change.objects {
        return None;
    }
    Some(ImageChange {
        replaces: change.images.clone(),
        replaces_version: change.version.clone(),
        take_over: None,
        strategy: Strategy::Rolling,
        ..before
    })
}

/// What ran before, as far as the portal knows it: of an adopted workload its images. What a managed one looked like is
/// only known from its releases.
fn replaced(change: &ImageChange) -> Option<ImageChange> {
    if change.is_managed() || change.replaces.is_empty() {
        return None;
    }
    let image = change.replaces.values().next().cloned().unwrap_or_default();
    Some(ImageChange {
        version: change.replaces_version.clone(),
        reference: image,
        digest: None,
        images: change.replaces.clone(),
        ..change.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::samples;

    fn change(version: &str, replaces: &str) -> ImageChange {
        let image = |version: &str| [("shop".to_string(), format!("r/shop:{version}"))].into();
        ImageChange {
            version: version.into(),
            reference: format!("r/shop:{version}"),
            digest: None,
            workload: "shop".into(),
            workload_kind: Default::default(),
            images: image(version),
            replaces: image(replaces),
            replaces_version: replaces.into(),
            objects: Vec::new(),
            take_over: Some("kubectl".into()),
            strategy: Strategy::Rolling,
        }
    }

    fn deploy(change: ImageChange) -> Deploy {
        Deploy { action: Action::Deploy(change), ..samples::deploy() }
    }

    #[test]
    fn it_is_the_last_good_release_and_else_what_was_replaced() {
        let failing = deploy(change("v3", "v2"));
        let good = target(&failing, Some(&change("v1", "v0"))).unwrap();
        assert_eq!((good.version.as_str(), good.replaces_version.as_str()), ("v1", "v3"));
        assert_eq!(good.take_over, None, "nothing has to be taken over twice");
        let before = target(&failing, None).unwrap();
        assert_eq!((before.version.as_str(), &before.images["shop"]), ("v2", &"r/shop:v2".to_string()));
    }

    #[test]
    fn there_is_nothing_to_go_back_to_where_nothing_else_ran() {
        assert_eq!(target(&deploy(change("v3", "v2")), Some(&change("v3", "v2"))), None);
        let first = ImageChange { replaces: Default::default(), ..change("v1", "") };
        assert_eq!(target(&deploy(first), None), None);
        let rendered = ImageChange { objects: vec![serde_json::json!({})], ..change("v3", "v2") };
        assert_eq!(
            target(&deploy(rendered), None),
            None,
            "only its images are known, not how it was rendered"
        );
    }

    #[test]
    fn a_rollback_that_fails_is_not_rolled_back() {
        let change = change("v2", "v3");
        let action = Action::RollBack { release: 1, approved: true, change };
        assert_eq!(target(&Deploy { action, ..samples::deploy() }, Some(&self::change("v1", "v0"))), None);
    }
}

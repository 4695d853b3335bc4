//! The smoke request of a deploy: the path that the service names is asked of a new pod before the pod is believed.

use std::time::Duration;

use super::deploy::Deploy;
use super::step::Seen;
use super::wording;
use crate::app::App;
use crate::kube::pod::is_ready;
use crate::kube::rollout::Observed;
use crate::kube::{UserClient, smoke};

/// A pod that has just become ready may still fail once; one that fails this often does not work.
const TRIES: u8 = 3;
const BETWEEN: Duration = Duration::from_secs(1);

/// Whether a new pod answers as the service's entry says it does. The inner error is the sentence why the deploy fails, the
/// outer one says that the cluster is away.
pub async fn passes(
    app: &App,
    user: &UserClient,
    deploy: &Deploy,
    observed: &Observed,
) -> Result<Result<(), String>, Seen> {
    let catalogue = app.catalogue.load();
    let entry = catalogue.service(&deploy.place.service);
    let (Some((port, path)), Some(_)) = (entry.and_then(|entry| entry.smoke()), deploy.action.change())
    else {
        return Ok(Ok(()));
    };
    let ready = observed.new_pods().find(|pod| is_ready(pod));
    let Some(pod) = ready.and_then(|pod| pod.metadata.name.as_deref()) else { return Ok(Ok(())) };
    let mut answer = Ok(());
    for again in 0..TRIES {
        if again > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        answer = smoke::ask(user, &deploy.place.namespace, pod, port, path)
            .await
            .map_err(|refusal| Seen::Away(refusal.sentence()))?;
        if answer.is_ok() {
            break;
        }
    }
    Ok(answer.map_err(|what| wording::smoke_failed(path, pod, &what)))
}

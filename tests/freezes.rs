//! While a freeze holds nothing new begins; what was asked for begins by itself when it is over.

use crate::deploys::{Shop, hidden, image, number};
use crate::support::{World, until};

const FREEZE: &str = "[[environment.freeze]]\nname = \"The long winter\"\nfrom = \"2020-01-01 00:00\"\nto = \"2999-01-04 08:00\"\n\
                      time_zone = \"Europe/Berlin\"\n";

#[tokio::test]
async fn what_is_asked_for_in_a_freeze_waits_and_then_starts_by_itself() {
    let staging = "name = \"staging\"\ncluster = \"dev\"\nnamespace = \"{team}-{environment}\"\n";
    let frozen = World::builder().replace(staging, &format!("{staging}{FREEZE}"));
    let shop = Shop::open_in(frozen).await;
    let maya = shop.maya().await;

    let form = maya.get("/services/shop/staging/deploy?version=v1.1.0&take_over=yes").await;
    assert!(form.text.contains("Frozen until Fri 4 Jan 2999, 08:00 Europe/Berlin"), "{}", form.text);
    let id = shop.deploy(&maya, "staging", "v1.1.0").await;
    let page = until("the page says why", async || {
        let page = maya.get(&format!("/deploys/{id}")).await;
        page.text.contains("Staging is frozen until").then_some(page)
    })
    .await;
    assert!(page.text.contains("The long winter"), "{}", page.text);
    // What mends is not held up.
    let key = hidden(&maya.get("/services/shop/staging/scale").await.text, "key");
    let scaled = maya.post("/services/shop/staging/scale", &[("replicas", "2"), ("key", &key)]).await;
    shop.ends_as(number(&scaled), "succeeded").await;
    assert_eq!(shop.state(id).await, "queued");
    assert!(image(&shop.staging).await.ends_with(":v1.0.0"));

    // The freeze is taken out of the configuration, and the portal started anew.
    shop.world.app.shutdown.cancel();
    let (next, _) = shop.world.replica_where(FREEZE, "").await;
    shop.ends_as(id, "succeeded").await;
    next.shutdown.cancel();
}

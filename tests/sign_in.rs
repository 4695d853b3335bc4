//! Signing in and out, as a browser sees it.

use crate::support::World;

#[tokio::test]
async fn maya_signs_in_and_is_known() {
    let world = World::new().await;
    let maya = world.as_("maya").await;
    let page = maya.get("/nowhere").await;
    assert!(page.text.contains("This page doesn"), "{}", page.text);
    assert!(maya.cookies.lock().unwrap().contains_key("pilothouse"));
    assert_eq!(maya.get("/sign-in").await.location(), "/");
}

//! Access requests from the question to the day after: real people, a real cluster that decides, and the API server's
//! own log of who wrote what.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams};
use pilothouse::auth::{Identity, KubeIdentity, Person};
use pilothouse::events::{Chain, verify_chain};
use pilothouse::kube::UserClient;
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{json as read, program, refused, send_json};
use crate::support::cluster::{Sandbox, audited};
use crate::support::desk::Desk;
use crate::support::{Browser, World, found, until};

const ALL: &[&str] = &["read", "deploy", "production", "approve"];

/// A portal whose staging is one namespace of its own, where omar may hand out the role `edit`.
struct House {
    world: World,
    place: Sandbox,
    _files: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        Self::with("longest = \"1h\"\n").await
    }

    /// `more`: of the role in the configuration.
    async fn with(more: &str) -> Self {
        let place = Sandbox::new("access", json!({})).await;
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("catalog-info.yaml"), CATALOGUE).unwrap();
        let staging = "name = \"staging\"\ncluster = \"dev\"\nnamespace = ";
        let world = World::builder()
            .replace("paths = [\"demo/catalogue\"]", &format!("paths = [{:?}]", files.path()))
            .replace(
                &format!("{staging}\"{{team}}-{{environment}}\""),
                &format!("{staging}\"{}\"", place.namespace),
            )
            .replace("# of the role\n", more)
            .start()
            .await;
        let house = Self { world, place, _files: files };
        house.let_omar_hand_it_out().await;
        until("the catalogue", async || house.world.app.catalogue.load().service("shop").map(drop)).await;
        house
    }

    async fn let_omar_hand_it_out(&self) {
        self.place
            .allow(
                "omar",
                json!([
                    {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["get", "create", "patch", "delete"]},
                    {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["edit"], "verbs": ["bind"]},
                ]),
            )
            .await;
        let omar = self.cluster_as("omar", &["payments", "payments-managers"]);
        until("omar's right", async || {
            omar.api::<RoleBinding>(&self.place.namespace).get_opt("none").await.ok().map(drop)
        })
        .await;
    }

    async fn take_omars_right(&self) {
        let roles: Api<Role> = Api::namespaced(self.place.admin.clone(), &self.place.namespace);
        roles.delete("omar", &DeleteParams::default()).await.unwrap();
        let omar = self.cluster_as("omar", &["payments", "payments-managers"]);
        until("omar's right is gone", async || {
            omar.api::<RoleBinding>(&self.place.namespace).get_opt("none").await.err().map(drop)
        })
        .await;
    }

    /// As with kubectl: the cluster as this person, past the portal's own rules.
    fn cluster_as(&self, username: &str, groups: &[&str]) -> UserClient {
        let person = Person {
            identity: Identity { issuer: "https://id.example".into(), subject: username.into() },
            username: username.into(),
            name: username.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            set_off_by: None,
        };
        self.place.portal.as_user(&KubeIdentity::new(&person, "oidc:").unwrap())
    }

    /// What noor gets of the cluster itself.
    async fn noor_gets(&self) -> u16 {
        let noor = self.cluster_as("noor", &[]);
        match noor.api::<Deployment>(&self.place.namespace).list(&Default::default()).await {
            Ok(_) => 200,
            Err(kube::Error::Api(status)) => status.code,
            Err(error) => panic!("{error}"),
        }
    }

    async fn until_noor_gets(&self, code: u16) {
        until(&format!("noor gets {code}"), async || (self.noor_gets().await == code).then_some(())).await;
    }

    /// Asks for `edit` for so many seconds, and gives back the request.
    async fn ask(&self, who: &Browser, seconds: i64) -> Value {
        let wanted = json!({"role": "edit", "environment": "staging", "team": "payments", "seconds": seconds,
            "reason": "The certificate changes tonight.", "contact": "@noor"});
        let page = send_json(who, "/api/v1/access-requests", wanted).await;
        assert_eq!(page.status, 201, "{}", page.text);
        read(&page)
    }

    async fn approve(&self, who: &Browser, request: &Value) {
        let path = format!("/api/v1/access-requests/{}/decision", request["id"]);
        let page = send_json(who, &path, json!({"approve": true, "seen": request["digest"]})).await;
        assert_eq!(page.status, 200, "{}", page.text);
    }

    async fn state(&self, request: &Value) -> String {
        sqlx::query_scalar("select state from grants where id = $1")
            .bind(request["id"].as_i64().unwrap())
            .fetch_one(&self.world.app.db)
            .await
            .unwrap()
    }

    async fn is(&self, request: &Value, wanted: &str) {
        let look = async || (self.state(request).await == wanted).then_some(());
        until(&format!("the request is {wanted}"), look).await;
    }

    async fn binding(&self, request: &Value) -> Option<RoleBinding> {
        let bindings: Api<RoleBinding> = Api::namespaced(self.place.admin.clone(), &self.place.namespace);
        bindings.get_opt(&format!("pilothouse-access-{}", request["id"])).await.unwrap()
    }

    /// Who changed RoleBindings of the portal here, by the API server's log: verb, person, code.
    fn writes(&self) -> Vec<(String, String, u64)> {
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
        };
        audited(&self.place.namespace)
            .iter()
            .filter(|event| text(event, "/objectRef/resource") == "rolebindings")
            .filter(|event| text(event, "/objectRef/name").starts_with("pilothouse-access-"))
            .filter(|event| text(event, "/stage") == "ResponseComplete")
            .filter(|event| !text(event, "/requestURI").contains("dryRun"))
            .filter(|event| text(event, "/verb") != "get" && text(event, "/user/username") == "pilothouse")
            .map(|event| {
                let code = event["responseStatus"]["code"].as_u64().unwrap();
                (text(event, "/verb"), text(event, "/impersonatedUser/username"), code)
            })
            .collect()
    }

    async fn wrote(&self, wanted: &[(&str, &str, u64)]) {
        let wanted: Vec<_> =
            wanted.iter().map(|(verb, who, code)| (verb.to_string(), who.to_string(), *code)).collect();
        let look = async || (self.writes() == wanted).then_some(());
        assert!(found(look).await.is_some(), "{:?}, not {wanted:?}", self.writes());
    }

    /// Action, outcome and user name of each row of the audit trail about access.
    async fn trail(&self) -> Vec<(String, String, String)> {
        sqlx::query_as("select action, outcome, username from audit where action like 'access.%' order by id")
            .fetch_all(&self.world.app.db)
            .await
            .unwrap()
    }
}

const CATALOGUE: &str = "
apiVersion: backstage.io/v1alpha1
kind: Group
metadata: {name: payments}
spec: {type: team, children: []}
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata:
  name: shop
  description: Sells things
spec: {type: service, lifecycle: production, owner: payments}
";

#[tokio::test]
async fn somebody_gets_a_right_for_a_while_and_loses_it_by_itself() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = house.world.as_("omar").await;
    assert_eq!(house.noor_gets().await, 403);

    let asked = house.ask(&noor, 6).await;
    assert_eq!((&asked["state"], &asked["namespace"]), (&json!("requested"), &json!(house.place.namespace)));
    for path in ["/approvals", "/access", "/"] {
        let page = omar.get(path).await;
        assert!(page.text.contains("Noor Visser: edit in"), "{path}: {}", page.text);
    }
    let page = omar.get(&format!("/access/{}", asked["id"])).await;
    assert!(page.text.contains("the cluster lets you, asked just now"), "{}", page.text);
    assert!(page.text.contains("@noor") && page.text.contains("The certificate changes tonight."));
    house.wrote(&[]).await;

    let seen = asked["digest"].as_str().unwrap();
    let form = [("decision", "approve"), ("note", "Until the change is done."), ("seen", seen)];
    let page = omar.post(&format!("/access/{}/decision", asked["id"]), &form).await;
    assert_eq!(page.location(), format!("/access/{}", asked["id"]));

    house.is(&asked, "active").await;
    house.until_noor_gets(200).await;
    let binding = house.binding(&asked).await.unwrap();
    let subjects = binding.subjects.unwrap();
    assert_eq!((subjects.len(), subjects[0].kind.as_str(), subjects[0].name.as_str()), (1, "User", "noor"));
    assert_eq!(binding.metadata.labels.unwrap()["pilothouse.dev/access-request"], asked["id"].to_string());
    assert!(binding.metadata.annotations.unwrap().contains_key("pilothouse.dev/expires"));

    house.is(&asked, "ended").await;
    house.until_noor_gets(403).await;
    assert!(house.binding(&asked).await.is_none());
    house.wrote(&[("patch", "omar", 201), ("delete", "omar", 200)]).await;
    let row = |action: &str, outcome: &str, who: &str| (action.into(), outcome.into(), who.into());
    assert_eq!(
        house.trail().await,
        [
            row("access.request", "awaiting_approval", "noor"),
            row("access.approve", "granting", "omar"),
            row("access.grant", "done", "omar"),
            row("access.end", "due", "omar"),
            row("access.end", "done", "omar"),
        ]
    );
    assert!(matches!(verify_chain(&house.world.app.db).await.unwrap(), Chain::Intact(_)));
    let told = read(&noor.get(&format!("/api/v1/access-requests/{}", asked["id"])).await);
    assert_eq!((&told["ended"], &told["why"]), (&json!(true), &json!("Its time was over.")));
}

#[tokio::test]
async fn only_somebody_else_who_may_approves_and_only_what_they_saw() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let maya = program(&house.world, "maya", ALL).await;

    let own = house.ask(&omar, 60).await;
    let path = |request: &Value, what: &str| format!("/api/v1/access-requests/{}{what}", request["id"]);
    let yes = |request: &Value| json!({"approve": true, "seen": request["digest"]});
    let page = send_json(&omar, &path(&own, "/decision"), yes(&own)).await;
    assert_eq!(refused(&page, 403), "You asked for this access request, so somebody else has to approve it.");

    let asked = house.ask(&noor, 60).await;
    refused(&maya.get(&path(&asked, "")).await, 404);
    refused(&send_json(&maya, &path(&asked, "/decision"), yes(&asked)).await, 404);
    let page =
        send_json(&omar, &path(&asked, "/decision"), json!({"approve": true, "seen": "another"})).await;
    assert!(refused(&page, 409).contains("not what your page showed"));
    let page =
        send_json(&omar, &path(&asked, "/decision"), json!({"approve": false, "seen": asked["digest"]}))
            .await;
    assert!(refused(&page, 422).contains("Say why."));
    let request = omar.request(Method::POST, &path(&asked, "/decision")).header("if-match", "\"old\"");
    refused(&omar.send(request.json(&yes(&asked))).await, 412);
    let reader = program(&house.world, "omar", &["read", "deploy", "production"]).await;
    assert!(
        refused(&send_json(&reader, &path(&asked, "/decision"), yes(&asked)).await, 403)
            .contains("“approve”")
    );
    assert_eq!(house.state(&asked).await, "requested");
    house.wrote(&[]).await;
}

#[tokio::test]
async fn approving_twice_and_at_once_gives_it_once() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let asked = house.ask(&noor, 600).await;
    let path = format!("/api/v1/access-requests/{}/decision", asked["id"]);
    let yes = || send_json(&omar, &path, json!({"approve": true, "seen": asked["digest"]}));
    let (one, two, three) = tokio::join!(yes(), yes(), yes());
    let mut codes = [one.status.as_u16(), two.status.as_u16(), three.status.as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [200, 409, 409], "{}\n{}\n{}", one.text, two.text, three.text);
    house.is(&asked, "active").await;
    refused(&yes().await, 409);
    house.wrote(&[("patch", "omar", 201)]).await;
}

#[tokio::test]
async fn asking_twice_is_one_request() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let wanted = json!({"role": "edit", "environment": "staging", "service": "shop", "reason": "Once."});
    let ask = |key: &'static str| {
        let request = noor.request(Method::POST, "/api/v1/access-requests").header("idempotency-key", key);
        noor.send(request.json(&wanted))
    };
    let (first, again, other) = (ask("a").await, ask("a").await, ask("b").await);
    let codes = [&first, &again, &other].map(|page| page.status.as_u16());
    assert_eq!(codes, [201, 200, 200], "{}", other.text);
    assert_eq!(read(&first)["id"], read(&again)["id"]);
    assert_eq!(read(&first)["id"], read(&other)["id"], "it waits already");
    assert_eq!(read(&first)["seconds"], 3600, "the longest, where eight hours are too long");
}

#[tokio::test]
async fn a_request_is_rejected_withdrawn_or_lapses() {
    let house = House::with("longest = \"1h\"\nexpires = \"5s\"\n").await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let path = |request: &Value, what: &str| format!("/api/v1/access-requests/{}/{what}", request["id"]);

    let rejected = house.ask(&noor, 60).await;
    let no = json!({"approve": false, "note": "Not tonight.", "seen": rejected["digest"]});
    let told = read(&send_json(&omar, &path(&rejected, "decision"), no).await);
    assert_eq!((&told["state"], &told["why"]), (&json!("refused"), &json!("Omar Haddad: Not tonight.")));

    let withdrawn = house.ask(&noor, 60).await;
    refused(&send_json(&omar, &path(&withdrawn, "withdrawal"), json!({})).await, 403);
    let told = read(&send_json(&noor, &path(&withdrawn, "withdrawal"), json!({})).await);
    assert_eq!(told["state"], "withdrawn");
    refused(&send_json(&noor, &path(&withdrawn, "end"), json!({})).await, 409);

    let forgotten = house.ask(&noor, 60).await;
    house.is(&forgotten, "expired").await;
    let late = json!({"approve": true, "seen": forgotten["digest"]});
    refused(&send_json(&omar, &path(&forgotten, "decision"), late).await, 409);
    house.wrote(&[]).await;
}

#[tokio::test]
async fn who_has_it_can_give_it_back_and_it_is_removed_in_the_name_of_who_gave_it() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let asked = house.ask(&noor, 3600).await;
    house.approve(&omar, &asked).await;
    house.is(&asked, "active").await;
    house.until_noor_gets(200).await;

    let page = send_json(&noor, &format!("/api/v1/access-requests/{}/end", asked["id"]), json!({})).await;
    assert_eq!(page.status, 200, "{}", page.text);

    house.is(&asked, "ended").await;
    house.until_noor_gets(403).await;
    house.wrote(&[("patch", "omar", 201), ("delete", "omar", 200)]).await;
    let told = read(&noor.get(&format!("/api/v1/access-requests/{}", asked["id"])).await);
    assert_eq!(told["why"], "Noor Visser ended it.");
}

#[tokio::test]
async fn who_may_not_bind_the_role_is_told_so_in_plain_words() {
    let house = House::open().await;
    house.take_omars_right().await;
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": ["get", "create", "patch", "delete"]}]);
    house.place.allow("omar", rules).await;
    // Without the group that holds `edit` here, or he would hold all of it and could give it.
    let bindings: Api<RoleBinding> = Api::namespaced(house.place.admin.clone(), &house.place.namespace);
    bindings.delete("team", &DeleteParams::default()).await.unwrap();
    let client = house.cluster_as("omar", &["payments", "payments-managers"]);
    until("omar may look", async || {
        client.api::<RoleBinding>(&house.place.namespace).get_opt("none").await.ok().map(drop)
    })
    .await;
    until("the team's right is gone", async || {
        client.api::<Deployment>(&house.place.namespace).list(&Default::default()).await.err().map(drop)
    })
    .await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = house.world.as_("omar").await;
    let asked = house.ask(&noor, 60).await;

    let page = omar.get(&format!("/access/{}", asked["id"])).await;
    assert!(page.text.contains("omar may not hand out this role"), "{}", page.text);
    assert!(page.text.contains("The group platform can grant the verb bind on the role."));
    assert!(!page.text.contains("name=\"decision\""), "no button that can't work");
    let form = [("decision", "approve"), ("seen", asked["digest"].as_str().unwrap())];
    let page = omar.post(&format!("/access/{}/decision", asked["id"]), &form).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("The cluster does not let you give this."), "{}", page.text);
    assert_eq!(house.state(&asked).await, "requested");
    house.wrote(&[]).await;
}

#[tokio::test]
async fn a_process_that_dies_between_write_and_record_writes_no_second_time() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let asked = house.ask(&noor, 3600).await;
    house.approve(&omar, &asked).await;
    house.is(&asked, "active").await;
    let uid = house.binding(&asked).await.unwrap().metadata.uid;

    // As if the process had died after the write: the record of it is not there, and the lease of the dead has ended.
    let id = asked["id"].as_i64().unwrap();
    for statement in [
        "delete from grant_events where grant_id = $1 and event ->> 'event' = 'granted'",
        "update grants set state = 'granting', detail = jsonb_set(detail, '{state}', '\"granting\"'),
                next_event = next_event - 1, fence = fence + 1, lease_until = null, wake = now() where id = $1",
    ] {
        sqlx::query(statement).bind(id).execute(&house.world.app.db).await.unwrap();
    }

    house.is(&asked, "active").await;
    assert_eq!(house.binding(&asked).await.unwrap().metadata.uid, uid, "the very same binding");
    house.wrote(&[("patch", "omar", 201)]).await;
    let seqs: Vec<i32> = sqlx::query_scalar("select seq from grant_events where grant_id = $1 order by seq")
        .bind(id)
        .fetch_all(&house.world.app.db)
        .await
        .unwrap();
    assert_eq!(seqs, [1, 2, 3], "gapless");
}

#[tokio::test]
async fn another_replica_takes_it_back_when_this_one_is_gone() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let asked = house.ask(&noor, 5).await;
    house.approve(&omar, &asked).await;
    house.is(&asked, "active").await;
    let (other, _) = house.world.replica().await;
    house.world.app.shutdown.cancel();

    house.is(&asked, "ended").await;
    house.until_noor_gets(403).await;
    house.wrote(&[("patch", "omar", 201), ("delete", "omar", 200)]).await;
    other.shutdown.cancel();
}

#[tokio::test]
async fn a_binding_that_somebody_removed_is_noticed() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let asked = house.ask(&noor, 3600).await;
    house.approve(&omar, &asked).await;
    house.is(&asked, "active").await;

    let bindings: Api<RoleBinding> = Api::namespaced(house.place.admin.clone(), &house.place.namespace);
    let name = format!("pilothouse-access-{}", asked["id"]);
    bindings.delete(&name, &DeleteParams::default()).await.unwrap();

    house.is(&asked, "ended").await;
    let told = read(&noor.get(&format!("/api/v1/access-requests/{}", asked["id"])).await);
    assert_eq!(told["why"], "Somebody removed the RoleBinding in the cluster.");
    assert_eq!(house.trail().await.last().unwrap().0, "access.end");
    house.wrote(&[("patch", "omar", 201)]).await;
}

#[tokio::test]
async fn what_the_cluster_does_not_let_go_is_said_loudly_and_tried_again() {
    let house = House::open().await;
    let noor = program(&house.world, "noor", ALL).await;
    let omar = program(&house.world, "omar", ALL).await;
    let petra = house.world.as_("petra").await;
    let asked = house.ask(&noor, 8).await;
    house.approve(&omar, &asked).await;
    house.is(&asked, "active").await;
    house.take_omars_right().await;

    house.is(&asked, "ending").await;
    let page = format!("/access/{}", asked["id"]);
    until("it is said", async || petra.get(&page).await.text.contains("Not taken back").then_some(())).await;
    for path in [page.as_str(), "/access"] {
        let text = petra.get(path).await.text;
        assert!(
            text.contains("role=\"alert\"") && text.contains("the cluster still has it"),
            "{path}: {text}"
        );
    }
    assert_eq!(house.noor_gets().await, 200, "which is why it is loud");
    let told = read(&noor.get(&format!("/api/v1/access-requests/{}", asked["id"])).await);
    assert!(told["why"].as_str().unwrap().contains("omar may not delete RoleBindings"), "{told}");
    let failed = house.trail().await.into_iter().filter(|(_, outcome, _)| outcome == "failed").count();
    assert_eq!(failed, 1, "once in the audit trail, however often it is tried");

    house.let_omar_hand_it_out().await;
    house.is(&asked, "ended").await;
    house.until_noor_gets(403).await;
}

#[tokio::test]
async fn what_people_write_is_shown_and_never_obeyed() {
    let house = House::open().await;
    let noor = house.world.as_("noor").await;
    let reason = "<script>alert(1)</script> \u{202e}<img src=x onerror=alert(2)>";
    let form = |contact: &'static str| {
        [
            ("role", "edit"),
            ("environment", "staging"),
            ("team", "payments"),
            ("lasts", "60"),
            ("reason", reason),
            ("contact", contact),
        ]
    };
    let page = noor.post("/access", &form("@<b>\u{202e}")).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("A name like @noor") && !page.text.contains("<img src=x"), "{}", page.text);

    let page = noor.post("/access", &form("noor.v")).await;
    let path = page.location().to_string();
    for (who, path) in [
        (&noor, path.as_str()),
        (&house.world.as_("omar").await, path.as_str()),
        (&house.world.as_("omar").await, "/approvals"),
    ] {
        let text = who.get(path).await.text;
        assert!(text.contains("&#60;script&#62;alert(1)") && !text.contains("<img src=x"), "{path}: {text}");
        assert!(!text.contains('\u{202e}') && text.contains("&lt;U+202E&gt;"), "{path}");
    }
}

#[tokio::test]
async fn where_a_right_is_missing_the_page_offers_to_ask_for_it() {
    let house = House::open().await;
    let noor = house.world.as_("noor").await;
    let link = "/access/new?service=shop&#38;environment=staging";
    until("the page links to the form", async || {
        noor.get("/services/shop").await.text.contains(link).then_some(())
    })
    .await;
    let form = noor.get("/access/new?service=shop&environment=staging").await;
    assert_eq!(form.status, 200);
    for words in ["payments-managers", &house.place.namespace, "See what runs", "not today", "Ask for it"] {
        assert!(form.text.contains(words), "{words}: {}", form.text);
    }
}

/// The line that the product promises, letter by letter.
#[tokio::test]
async fn the_command_asks_as_written_and_another_approves() {
    let house = House::open().await;
    let tokens = [mint(&house, "noor").await, mint(&house, "omar").await];
    let desk = async |token: &str| {
        Desk::fresh().await.with("PLATFORM_URL", &house.world.base).with("PLATFORM_TOKEN", token)
    };
    let [mut noor, omar] = [desk(&tokens[0]).await, desk(&tokens[1]).await];

    let ran = noor.run("platform access request --slack=@yourname").await;
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("Give --team or --service, --reason."), "{}", ran.err);

    noor.write(
        "shop/catalog-info.yaml",
        "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata:\n  name: shop\n",
    );
    noor.folder.push("shop");
    let ran =
        noor.at_a_terminal("platform access request --slack=@yourname", "The certificate changes.\n").await;
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(
        ran.out.contains("It waits for payments-managers") && ran.out.contains("sends no"),
        "{}",
        ran.out
    );
    let (_, id) = ran.out.trim().rsplit_once("/access/").unwrap();
    let shown = noor.run(&format!("platform access show {id}")).await;
    assert!(shown.out.contains("reach at     @yourname"), "{}", shown.out);

    let ran = omar.run("platform inbox").await;
    assert!(ran.out.contains("Noor Visser") && ran.out.contains("edit"), "{} {}", ran.out, ran.err);
    let ran = omar.run(&format!("platform access approve {id}")).await;
    assert_eq!(ran.code, 2, "an approval without anybody who looked has to be meant: {}", ran.err);
    let ran = omar.run(&format!("platform access approve {id} --yes")).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    house.until_noor_gets(200).await;
    house.is(&json!({"id": id.parse::<i64>().unwrap()}), "active").await;
    let ran = noor.run("platform access list --state active").await;
    assert!(ran.out.contains(&house.place.namespace), "{}", ran.out);
    let ran = noor.run(&format!("platform access end {id}")).await;
    assert_eq!(ran.code, 0, "{}", ran.err);
    house.until_noor_gets(403).await;
    let ran = noor.run(&format!("platform access withdraw {id}")).await;
    assert_eq!(ran.code, 3, "{}", ran.err);
}

async fn mint(house: &House, who: &str) -> String {
    crate::api::mint(&house.world.as_(who).await, "a desk", ALL).await
}

//! Logs on the real cluster: merged, live, exact across everything that can end a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::cluster::Sandbox;
use crate::support::{Browser, World, state, until};

const REPOSITORY: &str = "127.0.0.1:5000/payments/checkout-api";

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

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("pilothouse-logs-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A portal and one service, `shop`, in a namespace of its own.
struct Shop {
    world: World,
    sandbox: Sandbox,
    _files: Folder,
}

impl Shop {
    async fn open(version: &str, replicas: i32) -> Self {
        Self::open_with(version, replicas, None).await
    }

    /// `api` is the address of the cluster, where it is not the usual one.
    async fn open_with(version: &str, replicas: i32, api: Option<&str>) -> Self {
        let sandbox = Sandbox::new("staging", json!({})).await;
        let files = Folder::new();
        std::fs::write(files.path().join("catalog-info.yaml"), CATALOGUE).unwrap();
        let mut builder = World::builder()
            .replace("paths = [\"demo/catalogue\"]", &format!("paths = [{:?}]", files.path()))
            .replace(
                "name = \"staging\"\ncluster = \"dev\"\nnamespace = \"{team}-{environment}\"",
                &format!("name = \"staging\"\ncluster = \"dev\"\nnamespace = \"{}\"", sandbox.namespace),
            );
        if let Some(api) = api {
            let usual = state().join("cluster/pilothouse.kubeconfig");
            let text = std::fs::read_to_string(&usual).unwrap();
            let (start, rest) = text.split_once("https://").unwrap();
            let end = rest.find('"').unwrap();
            let moved = files.path().join("moved.kubeconfig");
            std::fs::write(&moved, format!("{start}{api}{}", &rest[end..])).unwrap();
            builder = builder.replace(usual.to_str().unwrap(), moved.to_str().unwrap());
        }
        let world = builder.start().await;
        let shop = Self { world, sandbox, _files: files };
        shop.deploy(version, replicas).await;
        until("the service is known", async || shop.world.app.catalogue.load().service("shop").map(|_| ()))
            .await;
        shop.all_ready(replicas).await;
        shop
    }

    async fn deploy(&self, version: &str, replicas: i32) {
        let deployment: Deployment = serde_json::from_value(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "shop", "labels": {"app.kubernetes.io/name": "shop"}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "shop"}},
                "template": {
                    "metadata": {"labels": {"app": "shop"}},
                    "spec": {"terminationGracePeriodSeconds": 5, "containers": [{
                        "name": "shop",
                        "image": format!("{REPOSITORY}:{version}"),
                        "resources": {"limits": {"memory": "64Mi"}},
                    }]},
                },
            },
        }))
        .unwrap();
        self.deployments().create(&PostParams::default(), &deployment).await.unwrap();
    }

    async fn set_version(&self, version: &str) {
        let patch = json!({"spec": {"template": {"spec": {"containers": [
            {"name": "shop", "image": format!("{REPOSITORY}:{version}")}
        ]}}}});
        self.deployments().patch("shop", &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap();
    }

    async fn all_ready(&self, replicas: i32) {
        until("all pods run", async || {
            let status = self.deployments().get("shop").await.unwrap().status.unwrap_or_default();
            (status.ready_replicas == Some(replicas) && status.updated_replicas == Some(replicas))
                .then_some(())
        })
        .await;
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.sandbox.admin.clone(), &self.sandbox.namespace)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.sandbox.admin.clone(), &self.sandbox.namespace)
    }

    async fn pod_names(&self) -> Vec<String> {
        let listed = self.pods().list(&ListParams::default()).await.unwrap();
        listed.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
    }
}

/// A line as the page's script gets it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    at: String,
    pod: String,
    text: String,
}

/// The page's stream, as EventSource reads it.
struct Stream {
    answer: reqwest::Response,
    buffer: String,
    last_id: String,
    lines: Vec<Line>,
    marks: Vec<String>,
    batches: Vec<Vec<Line>>,
    refused: Option<String>,
    ended: bool,
}

impl Stream {
    /// Goes on from the page that was just drawn.
    async fn after(browser: &Browser, page: &str) -> Self {
        Self::open(browser, &stream_address(page), "").await
    }

    async fn open(browser: &Browser, path: &str, last_id: &str) -> Self {
        let mut request = browser.request(Method::GET, path).header("accept", "text/event-stream");
        if !last_id.is_empty() {
            request = request.header("last-event-id", last_id);
        }
        let answer = browser.open(request).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self {
            answer,
            buffer: String::new(),
            last_id: last_id.into(),
            lines: Vec::new(),
            marks: Vec::new(),
            batches: Vec::new(),
            refused: None,
            ended: false,
        }
    }

    /// Reads until it has seen enough.
    async fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while !enough(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.answer.chunk()).await {
                Ok(Ok(Some(bytes))) => self.take(&String::from_utf8_lossy(&bytes)),
                Ok(_) => {
                    self.ended = true;
                    assert!(enough(self), "{what}: the stream ended. {:?} {:?}", self.marks, self.refused);
                    return;
                }
                Err(_) => panic!("{what}: not in two minutes. {:?}\n{:#?}", self.marks, self.lines),
            }
        }
    }

    fn take(&mut self, text: &str) {
        self.buffer.push_str(text);
        while let Some((event, rest)) = self.buffer.split_once("\n\n") {
            let (event, rest) = (event.to_string(), rest.to_string());
            self.buffer = rest;
            let field = |name: &str| {
                let found = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                found.map(|value| value.trim_start().to_string())
            };
            let Some(data) = field("data") else { continue };
            if field("event").as_deref() == Some("refused") {
                self.refused = Some(data);
                continue;
            }
            self.last_id = field("id").expect("every batch says where the reader stands");
            let items: Vec<Value> = serde_json::from_str(&data).unwrap();
            let mut batch = Vec::new();
            for item in items {
                match item {
                    Value::Array(row) => batch.push(line(&row)),
                    marker => self.marks.push(marker["words"].as_str().unwrap().to_string()),
                }
            }
            self.lines.extend(batch.iter().cloned());
            self.batches.push(batch);
        }
    }
}

fn line(row: &[Value]) -> Line {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let piece = |value: &Value| if value.is_array() { text(&value[1]) } else { text(value) };
    Line { at: text(&row[0]), pod: text(&row[2]), text: row[4..].iter().map(piece).collect() }
}

fn stream_address(page: &str) -> String {
    let (_, rest) = page.split_once("data-stream=\"").unwrap_or_else(|| panic!("no stream: {page}"));
    rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

/// The lines of the page itself: time and text, without tags.
fn lines_of_page(page: &str) -> Vec<(String, String)> {
    let starts = page.split("<i data-at=\"").skip(1);
    starts
        .map(|row| {
            let (at, rest) = row.split_once('"').unwrap();
            let row = rest.split('\n').next().unwrap();
            let (_, text) = row.split_once("</b> ").unwrap();
            (at.to_string(), unescaped(&without_tags(text)))
        })
        .collect()
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

fn unescaped(html: &str) -> String {
    html.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&")
}

/// The numbers that a pod's lines carry, in the order they came.
fn sequences(lines: &[Line]) -> BTreeMap<String, Vec<u64>> {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lines {
        found.entry(line.pod.clone()).or_default().extend(sequence(&line.text));
    }
    found
}

fn sequence(text: &str) -> Option<u64> {
    serde_json::from_str::<Value>(text).ok()?["seq"].as_u64()
}

/// Each number once, one after the other.
fn assert_gapless(numbers: &[u64], what: &str) {
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{what}: {numbers:?}");
}

const PAGE: &str = "/services/shop/logs?env=staging";

#[tokio::test]
async fn the_page_and_its_stream_are_one_log_without_a_seam() {
    let shop = Shop::open("v1.0.0", 2).await;
    let maya = shop.world.as_("maya").await;
    let page = maya.get(PAGE).await;
    assert_eq!(page.status, 200, "{}", page.text);

    let on_page = lines_of_page(&page.text);
    assert!(on_page.iter().filter(|(_, text)| text.contains("\"ready\"")).count() == 2, "{on_page:#?}");
    assert!(
        on_page.is_sorted_by_key(|(at, _)| at.parse::<jiff::Timestamp>().unwrap()),
        "merged in order of time"
    );

    let mut stream = Stream::after(&maya, &page.text).await;
    stream
        .until("some lines of both pods", |stream| {
            let seen = sequences(&stream.lines);
            seen.len() == 2 && seen.values().all(|numbers| numbers.len() >= 3)
        })
        .await;
    for batch in &stream.batches {
        assert!(batch.is_sorted_by_key(|line| line.at.parse::<jiff::Timestamp>().unwrap()), "{batch:#?}");
    }
    // The first number of the stream follows the last of the page, for each pod: count over both.
    let all: Vec<u64> = on_page
        .iter()
        .filter_map(|(_, text)| sequence(text))
        .chain(stream.lines.iter().filter_map(|line| sequence(&line.text)))
        .collect();
    let reached =
        sequences(&stream.lines).values().filter_map(|numbers| numbers.last().copied()).min().unwrap();
    for number in 1..=reached {
        assert_eq!(
            all.iter().filter(|seen| **seen == number).count(),
            2,
            "number {number} of 2 pods: {all:?}"
        );
    }
}

#[tokio::test]
async fn a_rollout_loses_nothing_and_repeats_nothing() {
    let shop = Shop::open("v1.0.0", 2).await;
    let maya = shop.world.as_("maya").await;
    let page = maya.get(PAGE).await.text;
    let old: BTreeSet<String> = shop.pod_names().await.into_iter().collect();
    let mut stream = Stream::after(&maya, &page).await;

    shop.set_version("v1.1.0").await;
    stream
        .until("both old pods stopped, both new ones talk, and the old ones are gone", |stream| {
            let stopped = stream.lines.iter().filter(|line| line.text.contains("\"stopped\"")).count();
            let new = sequences(&stream.lines);
            let talking =
                new.iter().filter(|(pod, numbers)| !old.contains(*pod) && numbers.len() >= 2).count();
            let gone = stream.marks.iter().filter(|words| words.ends_with("is gone")).count();
            stopped == 2 && talking == 2 && gone == 2
        })
        .await;

    for (pod, numbers) in sequences(&stream.lines) {
        assert_gapless(&numbers, &pod);
        if !old.contains(&pod) {
            assert_eq!(numbers[0], 1, "{pod} is followed from its first line");
            let first = stream.lines.iter().find(|line| line.pod == pod).unwrap();
            assert!(first.text.contains("\"starting\""), "{first:?}");
        }
    }
    let starts = stream.marks.iter().filter(|words| words.ends_with("starts, v1.1.0")).count();
    assert_eq!(starts, 2, "{:?}", stream.marks);
    let distinct: BTreeSet<&Line> = stream.lines.iter().collect();
    assert_eq!(distinct.len(), stream.lines.len(), "no line twice");
}

#[tokio::test]
async fn a_crashing_pod_shows_every_run_once() {
    let shop = Shop::open("v1.0.0", 1).await;
    let maya = shop.world.as_("maya").await;
    let mut stream = Stream::after(&maya, &maya.get(PAGE).await.text).await;

    shop.set_version("v1.3.0").await;
    // A run writes its first line to one pipe and its last to another, so a batch may end between the two.
    let runs = |stream: &Stream| {
        let lines = |word| stream.lines.iter().filter(|line| line.text.contains(word)).count();
        (lines("reading configuration"), lines("FATAL config"))
    };
    stream
        .until("three runs of the crashing version, each with its first line and its last", |stream| {
            let (begun, ended) = runs(stream);
            ended >= 3 && begun == ended
        })
        .await;
    assert!(
        stream.marks.iter().any(|words| words.contains("restarted (shop): exit 1")),
        "{:?}",
        stream.marks
    );
    let distinct: BTreeSet<&Line> = stream.lines.iter().collect();
    assert_eq!(distinct.len(), stream.lines.len(), "no line twice");

    // What it said before: the page of the run before this one.
    // Between two runs there is a moment in which the node has neither.
    let page = until("the run before", async || {
        let page = maya.get(&format!("{PAGE}&previous=true")).await.text;
        page.contains("FATAL config: DATABASE_URL is not set").then_some(page)
    })
    .await;
    assert!(!page.contains("data-stream"), "nothing will be added to it");
}

#[tokio::test]
async fn a_browser_that_comes_back_goes_on_where_it_was_at_any_replica() {
    let shop = Shop::open("v1.0.0", 2).await;
    let maya = shop.world.as_("maya").await;
    let page = maya.get(PAGE).await.text;
    let address = stream_address(&page);
    let mut all = Vec::new();
    let mut last_id = String::new();
    for _ in 0..3 {
        let mut stream = Stream::open(&maya, &address, &last_id).await;
        stream.until("a few lines", |stream| stream.lines.len() >= 3).await;
        last_id = stream.last_id.clone();
        all.extend(stream.lines.clone());
        drop(stream);
        // Nobody looks: the follow ends, and what comes meanwhile is read when the browser is back.
        until("the follow has ended", async || (shop.world.app.logs.follows() == 0).then_some(())).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    for (pod, numbers) in sequences(&all) {
        assert!(numbers.len() >= 4, "{numbers:?}");
        assert_gapless(&numbers, &pod);
    }
    let refused = maya.open(maya.request(Method::GET, &address).header("last-event-id", "made up")).await;
    assert_eq!(refused.status(), 400);
}

#[tokio::test]
async fn viewers_share_one_follow_and_it_outlives_the_one_who_opened_it() {
    let shop = Shop::open("v1.0.0", 1).await;
    let (maya, omar) = (shop.world.as_("maya").await, shop.world.as_("omar").await);
    let mut first = Stream::after(&maya, &maya.get(PAGE).await.text).await;
    first.until("a line for maya", |stream| !stream.lines.is_empty()).await;
    let mut second = Stream::after(&omar, &omar.get(PAGE).await.text).await;
    second.until("a line for omar", |stream| !stream.lines.is_empty()).await;
    assert_eq!(shop.world.app.logs.follows(), 1);

    drop(first);
    let so_far = second.lines.len();
    second.until("more lines for omar", |stream| stream.lines.len() >= so_far + 3).await;
    assert_gapless(&sequences(&second.lines).into_values().next().unwrap(), "omar's lines");
    drop(second);
    until("the follow has ended", async || (shop.world.app.logs.follows() == 0).then_some(())).await;
}

#[tokio::test]
async fn hostile_lines_do_no_harm() {
    let shop = Shop::open("v1.5.0", 1).await;
    let maya = shop.world.as_("maya").await;
    let mut stream = Stream::after(&maya, &maya.get(PAGE).await.text).await;
    stream
        .until("a round of hostile lines and a burst", |stream| {
            let has = |part: &str| stream.lines.iter().any(|line| line.text.contains(part));
            has("not closed, ") && has("event: done") && has("line 5000 of 5000") && has("KiB cut")
        })
        .await;
    let find = |part: &str| stream.lines.iter().find(|line| line.text.contains(part)).unwrap().text.clone();
    assert_eq!(
        find("new window title"),
        "red ␛[2J␛[Hcleared ␛]0;new window title␇ ␛]8;;https://evil.example␛\\link␛]8;;␛\\"
    );
    assert!(find("bidi: user").contains("<U+202E>"));
    assert!(find("control: nul").contains("␀") && find("control: nul").contains("<U+2028>"));
    let cut = find("KiB cut");
    assert!(cut.len() < 65 * 1024 && cut.ends_with(" … 37 KiB cut"), "{}", &cut[cut.len() - 40..]);
    let burst: Vec<&Line> = stream.lines.iter().filter(|line| line.text.starts_with("burst ")).collect();
    let skipped = stream.marks.iter().any(|words| words.contains("skipped"));
    assert!(burst.len().is_multiple_of(5000) || skipped, "{} of a burst, and no word of it", burst.len());

    let page = maya.get(PAGE).await.text;
    assert!(!page.contains("<script>alert") && !page.contains("<img src=x"), "nothing of it is HTML");
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}') && !page.contains('\0'));
    assert!(page.len() < 900_000, "{} bytes", page.len());

    let file = maya.get("/services/shop/logs/download?env=staging").await;
    assert_eq!(file.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(file.header("x-content-type-options"), "nosniff");
    assert!(file.header("content-disposition").starts_with("attachment; filename=\"shop-staging-"));
    assert!(file.text.contains("end of the long line"), "nothing is cut in the download");
    let times: Vec<&str> = file.text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(times.len() > 5_000, "{} lines", times.len());
}

#[tokio::test]
async fn who_may_not_read_logs_reads_why() {
    let shop = Shop::open("v1.0.0", 1).await;
    shop.sandbox
        .allow("nina", json!([{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}]))
        .await;
    let (noor, nina) = (shop.world.as_("noor").await, shop.world.as_("nina").await);
    for path in [PAGE, "/services/shop/logs/stream?env=staging", "/services/shop/logs/download?env=staging"] {
        assert_eq!(noor.get(path).await.status, 404, "to noor {path} is not there at all");
        let page = nina.get(path).await;
        assert_eq!(page.status, 403, "{path}");
        assert!(page.text.contains("get pods/log") && !page.text.contains("order priced"), "{}", page.text);
    }
    assert_eq!(noor.get("/services/nothing/logs").await.status, 404);
    assert_eq!(noor.get("/services/shop/logs?env=nowhere").await.status, 404);
    assert_eq!(shop.world.as_("maya").await.get("/services/shop/logs?env=staging&since=x").await.status, 400);
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_the_stream_with_a_sentence() {
    let shop = Shop::open("v1.0.0", 1).await;
    let maya = shop.world.as_("maya").await;
    let mut stream = Stream::after(&maya, &maya.get(PAGE).await.text).await;
    stream.until("a line", |stream| !stream.lines.is_empty()).await;

    let bindings: Api<RoleBinding> = Api::namespaced(shop.sandbox.admin.clone(), &shop.sandbox.namespace);
    for binding in bindings.list(&ListParams::default()).await.unwrap() {
        bindings.delete(&binding.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
    }
    stream.until("the refusal", |stream| stream.refused.is_some()).await;
    // Whichever is asked first after the right is gone: the pods, or their logs.
    let sentence = stream.refused.as_ref().unwrap();
    assert!(
        ["get pods/log", "cannot list resource"].iter().any(|part| sentence.contains(part)),
        "{sentence}"
    );
    stream.until("the end", |stream| stream.ended).await;
}

#[tokio::test]
async fn twenty_streams_are_enough_for_one_person() {
    let shop = Shop::open("v1.0.0", 1).await;
    let maya = shop.world.as_("maya").await;
    let address = stream_address(&maya.get(PAGE).await.text);
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(Stream::open(&maya, &address, "").await);
    }
    let page = maya.get(&address).await;
    assert_eq!(page.status, 429);
    assert!(page.text.contains("20 live pages open"), "{}", page.text);
    open.pop();
    until("the place is free", async || {
        let answer = maya.open(maya.request(Method::GET, &address)).await;
        (answer.status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn streams_end_when_the_portal_does() {
    let shop = Shop::open("v1.0.0", 1).await;
    let maya = shop.world.as_("maya").await;
    let mut stream = Stream::after(&maya, &maya.get(PAGE).await.text).await;
    stream.until("a line", |stream| !stream.lines.is_empty()).await;
    shop.world.app.shutdown.cancel();
    stream.until("the end", |stream| stream.ended).await;
    assert_eq!(stream.refused, None);
}

/// What stands between the portal and the API server in a restart of the latter: nothing, for a while.
struct Wire {
    address: String,
    cut: tokio::sync::watch::Sender<CancellationToken>,
}

impl Wire {
    async fn to_the_cluster() -> Self {
        let settings = std::fs::read_to_string(state().join("cluster/settings")).unwrap();
        let port: u16 =
            settings.lines().find_map(|line| line.strip_prefix("API_PORT=")).unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let (cut, cuts) = tokio::sync::watch::channel(CancellationToken::new());
        tokio::spawn(async move {
            while let Ok((mut portal, _)) = listener.accept().await {
                let token = cuts.borrow().clone();
                if token.is_cancelled() {
                    continue; // dropped at once: refused
                }
                tokio::spawn(async move {
                    let Ok(mut api) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut portal, &mut api) => {}
                        () = token.cancelled() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }

    /// Every connection breaks, and new ones are refused.
    fn down(&self) {
        self.cut.borrow().cancel();
    }

    fn up(&self) {
        self.cut.send_replace(CancellationToken::new());
    }
}

#[tokio::test]
async fn an_api_server_that_restarts_costs_no_line() {
    let wire = Wire::to_the_cluster().await;
    let shop = Shop::open_with("v1.0.0", 2, Some(&wire.address)).await;
    let maya = shop.world.as_("maya").await;
    let mut stream = Stream::after(&maya, &maya.get(PAGE).await.text).await;
    stream.until("lines of both pods", |stream| sequences(&stream.lines).len() == 2).await;

    wire.down();
    tokio::time::sleep(Duration::from_secs(7)).await;
    wire.up();
    let before = stream.lines.len();
    stream.until("lines after it", |stream| stream.lines.len() >= before + 12).await;
    for (pod, numbers) in sequences(&stream.lines) {
        assert!(numbers.len() >= 6, "{numbers:?}");
        assert_gapless(&numbers, &pod);
    }
}

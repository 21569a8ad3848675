//! The panel in a real Chromium, driven by `browser.mjs`.

use crate::site::Site;
use crate::{id, stage};
use axum::extract::{Path, State};
use axum::routing::post;
use axum::Router;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use tel_control::app::{now, App};
use tel_control::names::ClientId;
use tel_control::store::{Actor, Step, StepState};
use tokio::net::TcpListener;

/// The browser's script tells the stage what happens next.
async fn act(State(app): State<App>, Path((client, what)): Path<(String, String)>) {
    let client: ClientId = id(&client);
    let part: Vec<&str> = what.split(':').collect();
    match part.as_slice() {
        ["topic"] => stage::step(&app, &client, Step::Topic, StepState::Done, "").await,
        ["acls"] => stage::step(&app, &client, Step::Acls, StepState::Done, "").await,
        ["acls-fail"] => {
            let why = "Kafka: not allowed to alter the cluster; give the administrator Alter on Cluster";
            stage::step(&app, &client, Step::Acls, StepState::Failed, why).await;
        }
        ["quota"] => stage::step(&app, &client, Step::Quota, StepState::Done, "").await,
        ["list"] => stage::listed(&app, &client).await,
        ["edges", current] => {
            let current = current.parse().unwrap();
            stage::edges(&app, current, 20).await;
            let (state, detail) = match current {
                20 => (StepState::Done, String::new()),
                n => (StepState::Pending, format!("{n} of 20 edges")),
            };
            stage::step(&app, &client, Step::Edges, state, &detail).await;
        }
        ["seen", generation] => {
            let generation = generation.parse().unwrap();
            let who = Actor::reconciler();
            assert!(app.store().credential_used(&who, &client, generation, now()).await.unwrap());
            app.announce();
        }
        ["unlisted"] => stage::step(&app, &client, Step::Unlisted, StepState::Done, "").await,
        ["acls-removed"] => stage::step(&app, &client, Step::AclsRemoved, StepState::Done, "").await,
        ["volume"] => stage::volume(&app, &client).await,
        other => panic!("the stage knows no {other:?}"),
    }
}

/// A folder for npm's packages, which the lock file next to this names.
fn packages() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/panel");
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/panel");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = "package-lock.json";
    let wanted = std::fs::read(here.join(lock)).unwrap();
    let there = std::fs::read(folder.join("node_modules/.installed")).unwrap_or_default();
    if wanted != there {
        for file in ["package.json", lock] {
            std::fs::copy(here.join(file), folder.join(file)).unwrap();
        }
        let npm = Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder).output();
        let npm = npm.expect("npm");
        assert!(npm.status.success(), "npm ci: {}", String::from_utf8_lossy(&npm.stderr));
        std::fs::write(folder.join("node_modules/.installed"), wanted).unwrap();
    }
    folder
}

/// Serves a panel on loopback.
pub async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// With `TEL_PANEL_SHOTS` set to a folder, each screen is left there as a picture.
#[test]
fn a_person_does_all_of_it_in_a_browser() {
    crate::run(in_a_browser());
}

async fn in_a_browser() {
    let site = Site::anywhere().await;
    let panel = serve(site.router.clone()).await;
    let stage = serve(Router::new().route("/{client}/{what}", post(act)).with_state(site.app.clone())).await;
    for n in 1..=12 {
        let client = site.add(&format!("shop-{n}")).await;
        match n {
            3 => {
                stage::step(
                    &site.app,
                    &client,
                    Step::Topic,
                    StepState::Failed,
                    "topic logs.shop-3: 2 of 3 brokers are away",
                )
                .await
            }
            5 => drop(site.post_as_operator("/clients/shop-5/unsubscribe").await),
            7 => {}
            _ => stage::active(&site.app, &client, 20).await,
        }
        if n % 2 == 0 {
            stage::volume(&site.app, &client).await;
        }
    }
    let who = Actor::command_line();
    let client = site.app.store().create_token(&who, "Ada (c83)", Some(&id("c83")), None, now()).await.unwrap();
    let operator = site.app.store().create_token(&who, "Grace", None, None, now()).await.unwrap();
    drive("browser.mjs", &panel, &stage, &[("CLIENT_TOKEN", &client.secret), ("OPERATOR_TOKEN", &operator.secret)])
        .await;
}

/// Runs a script that drives Chromium through the panel. What it leaves in the folder of `TEL_PANEL_SHOTS` are pictures.
pub async fn drive(script: &str, panel: &str, stage: &str, more: &[(&str, &str)]) {
    let mut node = Command::new("node");
    node.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/panel").join(script))
        .env("PACKAGES", packages())
        .env("PANEL", panel)
        .env("STAGE", stage)
        .envs(more.iter().copied())
        .env("SHOTS", std::env::var_os("TEL_PANEL_SHOTS").unwrap_or_default())
        .stdin(Stdio::null());
    // It waits for the panel, which is served meanwhile.
    let output = tokio::task::spawn_blocking(move || node.output()).await.unwrap().expect("node");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    print!("{out}");
}

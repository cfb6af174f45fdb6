//! Forecasts that are asked for over HTTP, and those that `serve` makes by itself, as jobs.

use std::time::Instant;

use serde_json::{Value, json};
use tests::server::Server;
use tests::world::{PATIENCE, World};

const GENERATE: &str = "/api/v1/forecast/generate";
const JOBS: &str = "/api/v1/jobs";
const TENANT: [(&str, &str); 1] = [("x-intellicartel-tenant", "bikeshare")];

fn bikeshare() -> World {
    let world = World::on_folder();
    let demo = |name: &str| format!("{}/../demo/{name}", env!("CARGO_MANIFEST_DIR"));
    for (file, map) in
        [("hourly_bikesharing.csv.gz", "bikeshare.toml"), ("assigned/stores.csv", "stores.toml")]
    {
        let _produced = world.run(&["produce", "--file", &demo(file), "--map", &demo(map)]).expect_success();
    }
    let _ingested = world.run(&["ingest", "--feeds", "sales,stores", "--until-end"]).expect_success();
    let _made = world.run(&["marts", "refresh"]).expect_success();
    world
}

/// The job once it is as it should be.
fn until(server: &Server<'_>, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let job = server.get(&format!("{JOBS}/{id}"), &TENANT).expect_success()["data"].clone();
        if is_so(&job) {
            return job;
        }
        assert!(begun.elapsed() < PATIENCE && job["state"] != "failed", "{job}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn submitted(server: &Server<'_>, body: &Value) -> String {
    let answer = server.post(GENERATE, &TENANT, body);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = answer.json()["data"].clone();
    let id = job["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.headers["location"], format!("{JOBS}/{id}"));
    id
}

#[test]
fn forecasts_are_made_on_request_and_when_they_are_due() {
    let mut world = bikeshare();
    world.set("INTELLICARTEL__FORECAST__EVERY_DAYS", "7");
    {
        // No model was ever made: one is due.
        let server = Server::start_as(&world, &["serve", "--roles", "api,forecast"]);
        let begun = Instant::now();
        let due = loop {
            let jobs = server.get(JOBS, &TENANT).expect_success()["data"].clone();
            if let Some(job) = jobs.as_array().expect("a list").first() {
                break job.clone();
            }
            assert!(begun.elapsed() < PATIENCE, "none is due");
            std::thread::sleep(std::time::Duration::from_millis(50));
        };
        assert_eq!(due["parameters"], json!({"horizon_days": 28, "quick": false, "search": false}));
        let id = due["id"].as_str().expect("an id");
        let cancelled = server.post(&format!("{JOBS}/{id}/cancel"), &TENANT, &json!({})).expect_success();
        assert_eq!(cancelled["data"]["state"], "cancelled");

        let body = json!({"horizon_days": 14, "quick": true});
        let id = submitted(&server, &body);
        assert_eq!(submitted(&server, &body), id, "the same work is the same job");
        let done = until(&server, &id, |job| job["state"] == "succeeded");
        assert_eq!((&done["progress"], &done["result"]["is_served"]), (&json!(1.0), &json!(true)), "{done}");
        let served = server.get("/api/v1/forecast/predictions?sku=trip", &TENANT).expect_success();
        let days = served["data"].as_array().expect("a list");
        assert_eq!((days.len(), &days[0]["model_version"]), (14, &done["result"]["model_version"]));
        what_is_no_job_is_refused(&server, &id);
    }
    // Nothing has come since: none is due, and what was called off left nothing.
    let server = Server::start_as(&world, &["serve", "--roles", "api,forecast"]);
    let begun = Instant::now();
    while !server.get("/readyz?verbose", &[]).text().contains("\"forecasts\":\"ok\"") {
        assert!(begun.elapsed() < PATIENCE, "{}", server.get("/readyz?verbose", &[]).text());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(server.get(JOBS, &TENANT).expect_success()["data"], json!([]));
    assert_eq!(world.sql("SELECT count(*) FROM ops.model_versions"), "1");
}

fn what_is_no_job_is_refused(server: &Server<'_>, id: &str) {
    let of_one = format!("{JOBS}/{id}");
    let other = [("x-intellicartel-tenant", "gift-uk")];
    let _ = server.get(&of_one, &other).expect_refusal(404, "NOT_FOUND", &[id]);
    let _ =
        server.post(&format!("{of_one}/cancel"), &other, &json!({})).expect_refusal(404, "NOT_FOUND", &[id]);
    assert_eq!(server.get(JOBS, &other).expect_success()["data"], json!([]));
    let _ = server.get(&format!("{JOBS}/nonsense"), &TENANT).expect_refusal(404, "NOT_FOUND", &["nonsense"]);
    let _ = server.post(GENERATE, &TENANT, &json!({"horizon_days": 0})).expect_refusal(
        400,
        "INVALID_REQUEST",
        &["1 to 365"],
    );
    let _ = server.post(GENERATE, &TENANT, &json!({"horizon": 7})).expect_refusal(
        422,
        "INVALID_REQUEST",
        &["horizon_days"],
    );
    let _ = server.get(JOBS, &[]).expect_refusal(400, "TENANT_REQUIRED", &[]);

    // A business without sales is told so by its job.
    let answer = server.post(GENERATE, &other, &json!({"quick": true})).json();
    let id = answer["data"]["id"].as_str().expect("an id").to_owned();
    let begun = Instant::now();
    loop {
        let job = server.get(&format!("{JOBS}/{id}"), &other).expect_success()["data"].clone();
        if job["state"] == "failed" {
            assert_eq!(job["error"]["code"], "NOT_FOUND", "{job}");
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{job}");
    }
    // Done again, what has ended stays as it is.
    let again = server.post(&format!("{of_one}/cancel"), &TENANT, &json!({})).expect_success();
    assert_eq!(again["data"]["state"], "succeeded");
}

#[test]
fn a_process_without_the_role_says_so() {
    let world = World::on_folder();
    let _created = world.run(&["ingest", "--feeds", "sales", "--until-end"]);
    let server = Server::start(&world);
    let refused = server.post(GENERATE, &TENANT, &json!({}));
    let _ = refused.expect_refusal(503, "UNAVAILABLE", &["roles api and forecast"]);
}

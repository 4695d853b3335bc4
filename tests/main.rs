//! One test binary: a module per slice, and the support they share.
//!
//! Tests run against a real Postgres (`DATABASE_URL`), a real cluster (`PILOTHOUSE_TEST_STATE`, the folder that
//! `bin/cluster` keeps) and a real identity provider (`PILOTHOUSE_TEST_KEYCLOAK`, its address). What is missing makes a
//! test fail: nothing is skipped. `bin/test` sets all three.

#![expect(clippy::unwrap_used, reason = "a test that can't go on says so by panicking")]

mod access_requests;
mod api;
mod api_deploys;
mod apply;
mod audit;
mod authorization;
mod backchannel;
mod catalogue;
mod cli;
mod cli_refresh;
mod deploys;
mod drift;
mod error_ratio;
mod faults;
mod freezes;
mod glass;
mod guard;
mod invariants;
mod keycloak;
mod kube_cluster;
mod kube_rules;
mod logs;
mod machines;
mod managed;
mod migrations;
mod needs;
mod pages;
mod program_sign_in;
mod races;
mod refreshed;
mod registry;
mod restart;
mod rights;
mod rollbacks;
mod sign_in;
mod strategies;
mod support;
mod throughput;
mod upgrade;
mod workloads;

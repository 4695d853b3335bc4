//! Pilothouse, a self-service internal developer portal.
//!
//! # The map
//! Layers; a file imports from its own slice or from lines above it:
//!
//! | layer | modules |
//! |---|---|
//! | foundation | [`config`] [`clock`] [`db`] |
//! | web | [`web`]: frame, errors, assets, routes with their access table |
//! | auth | [`auth`]: sign-in, sessions, who is asking, what a cluster lets them do |
//! | kube | [`kube`]: acting as a person, watching as the portal |
//! | registry | [`registry`]: versions of an image and the bytes behind them |
//! | slices | [`catalogue`] [`deploy`] [`logs`] [`home`] [`audit`] |
//! | api | [`api`]: the slices for programs, and the OpenAPI document of it |
//! | outside | [`server`] [`metrics`] [`demo`]: the sample world's identity provider |
//! | the command | [`api::types`], the shapes of the API, and [`cli`], which knows nothing else of the portal |
//!
//! [`app::AppState`] is what handlers share.

pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod demo;
pub mod deploy;
pub mod events;
pub mod home;
pub mod kube;
pub mod logs;
pub mod metrics;
pub mod registry;
pub mod server;
pub mod web;

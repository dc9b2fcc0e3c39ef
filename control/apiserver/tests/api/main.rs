//! The API through its front door: requests in, answers out, over a store in memory.

mod auth;
mod delete;
mod discovery;
mod fixture;
mod input;
mod lists;
mod patches;
mod pods;
mod row_01;
mod row_13;
mod row_14;
mod row_24;
mod row_32;
mod row_39;
mod row_41;
mod row_42;
mod row_43;
mod services;
mod streams;
mod verbs;
mod watches;
mod webhook_server;

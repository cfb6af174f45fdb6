//! What the end-to-end tests share: the servers' addresses, the binary as a process, an even stream of records with known bad ones among them, an
//! independent reading of the tables in Python, a client of the HTTP server, and a proxy that spoils the way to S3.

pub mod beside;
pub mod process;
pub mod proxy;
pub mod server;
pub mod stream;
pub mod verify;
pub mod world;

/// What `scripts/services env` exports; tests never skip, so its absence is a failure that names the fix.
///
/// # Panics
/// When the variable is not set.
#[must_use]
pub fn service(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set: run the tests by `make test`, or `scripts/with-services cargo test ...`"
        )
    })
}

/// A number from the environment, like `KILLS`, or its default.
///
/// # Panics
/// When it is not a number.
#[must_use]
pub fn setting(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
